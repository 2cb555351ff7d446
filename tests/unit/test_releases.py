"""Manifests, their ids and the store of releases."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.releases import build_tiny_release, store_of
from harness.waiting import HUNG_AFTER_S
from vitrine.errors import ReleaseCorrupt, ReleaseNotFound
from vitrine.releases import MANIFEST_FILE, PROJECTION_FILE, WEIGHTS_FILE, Manifest, ReleaseStore


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("made") / "releases"
    return folder, build_tiny_release(folder)


@pytest.fixture
def store(made: tuple[Path, str], tmp_path: Path) -> ReleaseStore:
    shutil.copytree(made[0], tmp_path / "releases")
    return store_of(tmp_path / "releases")


def test_the_same_inputs_make_the_same_release(made: tuple[Path, str], tmp_path: Path) -> None:
    assert build_tiny_release(tmp_path / "again") == made[1]


@pytest.mark.parametrize("other", [{"weights": "seed:1"}, {"components": 8}, {"whiten": True}, {"input_px": 96}])
def test_whatever_changes_a_vector_makes_another_release(
    made: tuple[Path, str], tmp_path: Path, other: dict[str, object]
) -> None:
    assert build_tiny_release(tmp_path / "other", **other) != made[1]  # type: ignore[arg-type]


def test_a_manifest_names_no_path_and_no_time(made: tuple[Path, str]) -> None:
    text = (made[0] / made[1] / MANIFEST_FILE).read_text()
    assert str(made[0]) not in text
    assert "time" not in text
    assert "_at" not in text


def test_a_manifest_read_back_is_the_one_that_was_stored(made: tuple[Path, str]) -> None:
    manifest = store_of(made[0]).manifest(made[1])
    assert manifest.release_id == made[1]
    assert manifest.dim == 16
    assert Manifest.parse(manifest.canonical_json(), release_id=made[1]) == manifest


def test_a_changed_manifest_is_told_by_its_id(store: ReleaseStore, made: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "releases" / made[1] / MANIFEST_FILE
    fields = json.loads(path.read_text())
    fields["preprocessing"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(fields))
    with pytest.raises(ReleaseCorrupt, match=made[1]):
        store.manifest(made[1])


@pytest.mark.parametrize("name", [WEIGHTS_FILE, PROJECTION_FILE])
def test_a_damaged_file_is_told_by_name(store: ReleaseStore, made: tuple[Path, str], tmp_path: Path, name: str) -> None:
    path = tmp_path / "releases" / made[1] / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReleaseCorrupt, match=name):
        store.local_folder(made[1])


@pytest.mark.parametrize("name", ["nothing-0123456789", "../secrets", "test_efficientnet", "", "a" * 500])
def test_what_is_no_release_is_not_found(store: ReleaseStore, name: str) -> None:
    with pytest.raises(ReleaseNotFound):
        store.manifest(name)


def test_a_half_written_release_is_not_listed(store: ReleaseStore, made: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "releases" / ".tmp-0123").mkdir()
    (tmp_path / "releases" / "half-0123456789").mkdir()
    assert store.ids() == [made[1]]


def test_the_newest_release_of_a_model_is_the_one_stored_last(store: ReleaseStore, tmp_path: Path) -> None:
    second = build_tiny_release(tmp_path / "releases", weights="seed:7")
    assert store.newest("test_efficientnet") == second
    assert store.newest("another") is None


def test_publishing_what_is_there_changes_nothing(store: ReleaseStore, made: tuple[Path, str]) -> None:
    folder = store.local_folder(made[1])
    before = (folder / MANIFEST_FILE).stat().st_mtime_ns
    again = store.publish(store.manifest(made[1]), weights=folder / WEIGHTS_FILE, projection=folder / PROJECTION_FILE)
    assert again == made[1]
    assert (folder / MANIFEST_FILE).stat().st_mtime_ns == before


def test_two_that_publish_the_same_release_at_the_same_moment_both_have_it(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ReleaseStore(f"file:{made[0]}", cache_dir=tmp_path)
    folder, manifest = source.local_folder(made[1]), source.manifest(made[1])
    together, rename = threading.Barrier(3), Path.rename

    def once_all_have_written(path: Path, target: Path) -> Path:
        together.wait(HUNG_AFTER_S)
        return rename(path, target)

    def publish(_: int) -> str:
        store = ReleaseStore(f"file:{tmp_path / 'shared'}", cache_dir=tmp_path / "cache")
        return store.publish(manifest, weights=folder / WEIGHTS_FILE, projection=folder / PROJECTION_FILE)

    monkeypatch.setattr(Path, "rename", once_all_have_written)
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(publish, range(3))) == [made[1]] * 3
    published = ReleaseStore(f"file:{tmp_path / 'shared'}", cache_dir=tmp_path / "cache")
    assert published.local_folder(made[1]).is_dir()
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [made[1]]


def test_a_release_on_other_storage_is_fetched_and_checked(made: tuple[Path, str], tmp_path: Path) -> None:
    local = store_of(made[0])
    folder = local.local_folder(made[1])
    remote = ReleaseStore(f"memory://{tmp_path.name}/releases", cache_dir=tmp_path / "cache")
    remote.publish(local.manifest(made[1]), weights=folder / WEIGHTS_FILE, projection=folder / PROJECTION_FILE)
    assert remote.ids() == [made[1]]
    fetched = remote.local_folder(made[1])
    assert fetched == tmp_path / "cache" / made[1]
    (fetched / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(ReleaseCorrupt):
        remote.local_folder(made[1])
    assert remote.local_folder(made[1]) == fetched, "a damaged copy is fetched anew"
