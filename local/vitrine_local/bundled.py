"""The bundled releases, so that the first search works without a download or a training: a small network trained from
random weights with `recipes/demo.toml`, and a parser of garments trained with `recipes/parser.toml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vitrine.qdrant.naming import model_of_release
from vitrine.releases import CLASSIFIER_FILE, PROJECTION_FILE, SPLIT_FILE, TRAINING_FOLDER, WEIGHTS_FILE, ReleaseStore
from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import DataFolderUnusable

MODEL: Final = "demo"
PARSER: Final = "vitrine-parser"
BUNDLED: Final = Path(__file__).with_name("bundled_releases")


def install_bundled_releases(data: DataFolder) -> str:
    """Publish the bundled releases to the data folder, unless they are there already.

    Returns the id of the one that embeds pictures. Raises ReleaseCorrupt if the installation is damaged, and
    DataFolderUnusable if the folder cannot be written.
    """
    by_model = {model_of_release(release_id): release_id for release_id in bundled_store().ids()}
    _install(data, by_model[PARSER])
    _install(data, by_model[MODEL])
    return by_model[MODEL]


def bundled_store() -> ReleaseStore:
    """The store of the bundled releases."""
    return ReleaseStore(f"file:{BUNDLED}", cache_dir=BUNDLED)


def _install(data: DataFolder, release_id: str) -> None:
    bundled = bundled_store()
    folder = bundled.local_folder(release_id)  # checks the files against the manifest's hashes
    own = ReleaseStore(f"file:{data.releases}", cache_dir=data.cache / "releases")

    def file(name: str) -> Path | None:
        return folder / name if (folder / name).exists() else None

    try:
        own.publish(
            bundled.any_manifest(release_id),
            weights=folder / WEIGHTS_FILE,
            projection=file(PROJECTION_FILE),
            classifier=file(CLASSIFIER_FILE),
            split=file(SPLIT_FILE),
            training=file(TRAINING_FOLDER),
        )
    except OSError as error:
        raise DataFolderUnusable(f"the bundled release cannot be written to {data.releases}: {error}") from error
