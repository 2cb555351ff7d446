"""Manifests, release ids and the release store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from harness.memory import peak_memory
from harness.releases import build_tiny_release, store_of
from harness.waiting import HUNG_AFTER_S
from vitrine.errors import ParameterInvalid, ReleaseCorrupt, ReleaseNotFound, WeightsUnusable
from vitrine.releases import MANIFEST_FILE, PROJECTION_FILE, WEIGHTS_FILE, Manifest, ReleaseStore
from vitrine.vision.backbones import load_backbone
from vitrine.vision.models import ModelEntry, model_entry
from vitrine.vision.network import choose_device, load_release


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("made") / "releases"
    return folder, build_tiny_release(folder)


@pytest.fixture
def store(made: tuple[Path, str], tmp_path: Path) -> ReleaseStore:
    shutil.copytree(made[0], tmp_path / "releases")
    return store_of(tmp_path / "releases")


def test_the_same_inputs_give_the_same_release_id(made: tuple[Path, str], tmp_path: Path) -> None:
    assert build_tiny_release(tmp_path / "again") == made[1]


@pytest.mark.parametrize("other", [{"weights": "seed:1"}, {"components": 8}, {"whiten": True}, {"input_px": 96}])
def test_any_change_that_affects_a_vector_gives_another_release_id(
    made: tuple[Path, str], tmp_path: Path, other: dict[str, object]
) -> None:
    assert build_tiny_release(tmp_path / "other", **other) != made[1]  # type: ignore[arg-type]


def test_a_manifest_contains_no_path_and_no_time(made: tuple[Path, str]) -> None:
    text = (made[0] / made[1] / MANIFEST_FILE).read_text()
    assert str(made[0]) not in text
    assert "time" not in text
    assert "_at" not in text


def test_a_manifest_read_back_is_the_one_that_was_stored(made: tuple[Path, str]) -> None:
    manifest = store_of(made[0]).manifest(made[1])
    assert manifest.release_id == made[1]
    assert manifest.dim == 16
    assert Manifest.parse(manifest.canonical_json(), release_id=made[1]) == manifest


def test_a_changed_manifest_is_detected_by_its_id(store: ReleaseStore, made: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "releases" / made[1] / MANIFEST_FILE
    fields = json.loads(path.read_text())
    fields["preprocessing"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(fields))
    with pytest.raises(ReleaseCorrupt, match=made[1]):
        store.manifest(made[1])


@pytest.mark.parametrize("name", [WEIGHTS_FILE, PROJECTION_FILE])
def test_a_damaged_file_is_reported_by_name(
    store: ReleaseStore, made: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "releases" / made[1] / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReleaseCorrupt, match=name):
        store.local_folder(made[1])


@pytest.mark.parametrize("name", ["nothing-0123456789", "../secrets", "test_efficientnet", "", "a" * 500])
def test_a_folder_that_is_not_a_release_is_not_found(store: ReleaseStore, name: str) -> None:
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


def test_publishing_an_existing_release_changes_nothing(store: ReleaseStore, made: tuple[Path, str]) -> None:
    folder = store.local_folder(made[1])
    before = (folder / MANIFEST_FILE).stat().st_mtime_ns
    again = store.publish(store.manifest(made[1]), weights=folder / WEIGHTS_FILE, projection=folder / PROJECTION_FILE)
    assert again == made[1]
    assert (folder / MANIFEST_FILE).stat().st_mtime_ns == before


def test_concurrent_publications_of_one_release_both_succeed(
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


def remote_of(made: tuple[Path, str], tmp_path: Path) -> ReleaseStore:
    """The release on remote storage, with an empty cache."""
    local = store_of(made[0])
    folder = local.local_folder(made[1])
    remote = ReleaseStore(f"memory://{tmp_path.name}/releases", cache_dir=tmp_path / "cache")
    remote.publish(local.manifest(made[1]), weights=folder / WEIGHTS_FILE, projection=folder / PROJECTION_FILE)
    return remote


def test_concurrent_fetches_of_one_release_both_succeed(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = remote_of(made, tmp_path)
    together, rename = threading.Barrier(3), Path.rename

    def once_all_have_written(path: Path, target: Path) -> Path:
        together.wait(HUNG_AFTER_S)
        return rename(path, target)

    one_reads, get_file = threading.Lock(), MemoryFileSystem.get_file

    def in_turn(*args: Any, **options: Any) -> None:
        """In-memory files of fsspec share one position between readers, unlike real storage."""
        with one_reads:
            get_file(*args, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", in_turn)
    monkeypatch.setattr(Path, "rename", once_all_have_written)
    with ThreadPoolExecutor(3) as threads:
        folders = set(threads.map(lambda _: remote.local_folder(made[1]), range(3)))
    assert folders == {tmp_path / "cache" / made[1]}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made[1]]


def test_a_damaged_copy_is_fetched_again_after_an_interrupted_removal(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = remote_of(made, tmp_path)
    (remote.local_folder(made[1]) / WEIGHTS_FILE).write_bytes(b"damaged")

    def ended_after_the_first_file(folder: Path, **_: object) -> None:
        (folder / MANIFEST_FILE).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vitrine.releases.store.shutil.rmtree", ended_after_the_first_file)
        with pytest.raises(KeyboardInterrupt):
            remote.local_folder(made[1])
    assert remote.local_folder(made[1]) == tmp_path / "cache" / made[1]


def altered(made: tuple[Path, str], tmp_path: Path, **architecture: object) -> tuple[ReleaseStore, str]:
    """A release with another network description, stored under the matching id."""
    fields = json.loads((made[0] / made[1] / MANIFEST_FILE).read_text())
    fields["architecture"] |= architecture
    data = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    release_id = f"{fields['model']}-{hashlib.sha256(data).hexdigest()[:10]}"
    folder = tmp_path / "altered" / release_id
    shutil.copytree(made[0] / made[1], folder)
    (folder / MANIFEST_FILE).write_bytes(data)
    return store_of(tmp_path / "altered"), release_id


@pytest.mark.parametrize(
    "architecture",
    [
        {"timm_name": "hf-hub:timm/resnet18"},
        {"timm_name": "hf_hub:timm/resnet18"},
        {"timm_name": "local-dir:/tmp/network"},
        {"timm_name": "../../network"},
        {"timm_name": "x" * 5_000},
        {"options": {"pretrained": True}},
        {"options": {"checkpoint_path": "/etc/passwd"}},
        {"options": {"features_only": True}},
        {"options": {"act_layer": "http://evil.example/x"}},
        {"options": {"depth": 10**7}},
        {"options": {"embed_dim": 10**9}},
        {"raw_dim": 10**9},
    ],
)
def test_the_network_description_in_a_manifest_is_validated_on_reading(
    made: tuple[Path, str], tmp_path: Path, architecture: dict[str, object]
) -> None:
    store, release_id = altered(made, tmp_path, **architecture)
    with pytest.raises(ReleaseCorrupt, match="not valid"):
        store.manifest(release_id)


@pytest.mark.parametrize(
    "architecture",
    [
        {"timm_name": "vit_giant_patch14_dinov2"},
        {"timm_name": "no_such_network"},
        {"timm_name": "vit_tiny_patch16_224", "options": {"embed_dim": 12_288, "depth": 24, "num_heads": 8}},
        {"options": {"no_such_option": 1}},
    ],
)
def test_a_network_that_does_not_match_its_weights_is_refused_before_it_is_built(
    made: tuple[Path, str], tmp_path: Path, architecture: dict[str, object]
) -> None:
    store, release_id = altered(made, tmp_path, **architecture)
    with peak_memory() as peak, pytest.raises((ReleaseCorrupt, WeightsUnusable)) as caught:
        load_release(store.local_folder(release_id), store.manifest(release_id), choose_device("cpu"))
    assert caught.value.detail
    assert peak.grown_bytes < 500_000_000


@pytest.mark.parametrize("name", [MANIFEST_FILE, WEIGHTS_FILE, PROJECTION_FILE])
@pytest.mark.parametrize("kind", ["pipe", "link", "device", "folder"])
def test_a_file_that_is_not_regular_is_refused_without_blocking(
    store: ReleaseStore, made: tuple[Path, str], tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / "releases" / made[1] / name
    whole = path.rename(tmp_path / "whole")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(whole)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()
    with pytest.raises(ReleaseCorrupt, match="regular file"):
        store.local_folder(made[1])


def test_a_file_that_is_too_large_is_not_read(store: ReleaseStore, made: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "releases" / made[1]
    with (folder / WEIGHTS_FILE).open("ab") as file:
        file.truncate(10**12)  # a sparse file, which uses no space
    with pytest.raises(ReleaseCorrupt, match=WEIGHTS_FILE):
        store.local_folder(made[1])
    with (folder / MANIFEST_FILE).open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(ReleaseCorrupt, match="larger than"):
        store.manifest(made[1])


def test_a_far_too_large_network_is_refused_before_it_is_built() -> None:
    entry = model_entry("timm:vit_tiny_patch16_224")
    with pytest.raises(WeightsUnusable, match="too large"):
        load_backbone(entry, weights="seed:1", options={"embed_dim": 12_288, "depth": 24, "num_heads": 8})


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "local-dir:/tmp/x"])
def test_a_network_from_a_model_hub_is_never_requested(name: str) -> None:
    with pytest.raises(ParameterInvalid, match="list"):
        load_backbone(ModelEntry(name="x", timm=name), weights="seed:1", options={})


def test_a_weights_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(WeightsUnusable, match="regular file"):
        load_backbone(model_entry("timm:resnet18"), weights=str(tmp_path / "weights.safetensors"), options={})
