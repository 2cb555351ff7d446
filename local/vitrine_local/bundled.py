"""The release that comes with Vitrine: a small network that its own trainer made from random weights
(`recipes/demo.toml`), so that the first search finds garments and nothing has to be downloaded or trained before it.
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
    """Put the release among those of `data`, where it is not there yet, and return its id.

    Raises ReleaseCorrupt where the installation is damaged, and DataFolderUnusable where the folder takes no files.
    """
    bundled = ReleaseStore(f"file:{BUNDLED}", cache_dir=data.cache / "releases")
    (release_id,) = bundled.ids()
    folder = bundled.local_folder(release_id)  # held against the hashes of its manifest
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
        raise DataFolderUnusable(f"the bundled release cannot be put into {data.releases}: {error}") from error
