"""The bundled release: a small network trained from random weights with `recipes/demo.toml`, so that the first search
works without a download or a training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vitrine.releases import CLASSIFIER_FILE, PROJECTION_FILE, TRAINING_FOLDER, WEIGHTS_FILE, ReleaseStore
from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import DataFolderUnusable

MODEL: Final = "demo"
BUNDLED: Final = Path(__file__).with_name("bundled_releases")


def install_bundled_release(data: DataFolder) -> str:
    """Publish the bundled release to the data folder, unless it is there already, and return its id.

    Raises ReleaseCorrupt if the installation is damaged, and DataFolderUnusable if the folder cannot be written.
    """
    bundled = ReleaseStore(f"file:{BUNDLED}", cache_dir=data.cache / "releases")
    (release_id,) = bundled.ids()
    folder = bundled.local_folder(release_id)  # checks the files against the manifest's hashes
    own = ReleaseStore(f"file:{data.releases}", cache_dir=data.cache / "releases")
    classifier = folder / CLASSIFIER_FILE
    try:
        return own.publish(
            bundled.manifest(release_id),
            weights=folder / WEIGHTS_FILE,
            projection=folder / PROJECTION_FILE,
            classifier=classifier if classifier.exists() else None,
            training=folder / TRAINING_FOLDER,
        )
    except OSError as error:
        raise DataFolderUnusable(f"the bundled release cannot be written to {data.releases}: {error}") from error
