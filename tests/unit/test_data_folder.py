"""The data folder: private to its owner, and usable after damage."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from vitrine.errors import SettingsInvalid
from vitrine_local.data_folder import DataFolder, RunRecord
from vitrine_local.errors import DataFolderUnusable
from vitrine_local.secrets import LocalSecrets, load_or_create_secrets
from vitrine_local.supervisor.plan import INDEXER, TRAINER, make_plan


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def record() -> RunRecord:
    return RunRecord(url="http://127.0.0.1:1", started_at="2026-01-01T00:00:00Z", supervisor_pid=1, ports={}, pids={})


@pytest.mark.parametrize("before", [None, 0o755, 0o777])
def test_only_the_owner_can_access_the_folder_even_if_it_was_open_before(tmp_path: Path, before: int | None) -> None:
    root = tmp_path / "data"
    if before is not None:
        (root / "redis").mkdir(parents=True)
        root.chmod(before)
    DataFolder.at(root).create()
    assert mode(root) == 0o700


def test_a_shared_folder_with_other_files_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "somebody's").write_text("")
    tmp_path.chmod(0o1777)
    with pytest.raises(DataFolderUnusable, match="--data"):
        DataFolder.at(tmp_path).create()
    assert mode(tmp_path) == 0o1777
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's"]


def test_only_the_owner_can_read_the_record_and_the_secrets(tmp_path: Path) -> None:
    data = DataFolder.at(tmp_path / "data")
    data.create()
    data.write_run(record())
    data.load_or_create_secrets()
    assert mode(data.run_file) == mode(data.secrets_file) == 0o600
    data.secrets_file.chmod(0o644)
    data.load_or_create_secrets()
    assert mode(data.secrets_file) == 0o600


def test_secrets_are_random_and_persistent(tmp_path: Path) -> None:
    first, second = load_or_create_secrets(tmp_path / "first.json"), load_or_create_secrets(tmp_path / "second.json")
    values = [getattr(one, name).get_secret_value() for one in (first, second) for name in LocalSecrets.model_fields]
    assert len(set(values)) == len(values) == 6
    assert all(len(value) == 64 for value in values)
    assert load_or_create_secrets(tmp_path / "first.json") == first
    assert "**" in str(first), "they are not shown by accident"


@pytest.mark.parametrize("content", [b"", bytes(100), b"{}", b'{"redis_password": "short"}', b"\xff\xfe"])
def test_damaged_secrets_are_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secrets.json"
    file.write_bytes(content)
    made = load_or_create_secrets(file)
    assert json.loads(file.read_text())["redis_password"] == made.redis_password.get_secret_value()


def test_on_a_full_disk_secrets_are_valid_for_one_run(small_disk: Path) -> None:
    (small_disk / "filling").write_bytes(bytes(1_000_000 + 48_576))
    assert load_or_create_secrets(small_disk / "secrets.json").redis_password.get_secret_value()


@pytest.mark.parametrize("content", [b"", bytes(50), b"\xff\xfe{", b'{"url": 1}'])
def test_a_damaged_record_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    data = DataFolder.at(tmp_path / "data")
    data.create()
    data.run_file.write_bytes(content)
    assert data.read_run() is None


def test_readable_catalogue_roots_survive_damaged_ones(tmp_path: Path) -> None:
    data = DataFolder.at(tmp_path / "data")
    data.create()
    shop = tmp_path / "shop"
    shop.mkdir()
    data.catalog_roots_file.write_bytes(b"\xff\xfe\n")
    data.allow_root(shop)
    assert shop.resolve() in data.allowed_roots()


@pytest.mark.parametrize(("setting", "niceness"), [(None, [5, 10]), ("true", [5, 10]), ("false", [0, 0])])
def test_workers_run_at_a_lower_priority_unless_a_setting_forbids_it(
    tmp_path: Path, setting: str | None, niceness: list[int]
) -> None:
    environment = {} if setting is None else {"VITRINE_LOWER_PRIORITY": setting}
    data = DataFolder.at(tmp_path)
    data.create()
    plan = make_plan(data, port=0, environment=environment)
    plan.release_ports()
    found = {spec.name: spec.niceness for spec in plan.services}
    assert [found[INDEXER], found[TRAINER]] == niceness
    assert {found[name] for name in found if name not in (INDEXER, TRAINER)} == {0}


def test_a_priority_setting_that_is_not_a_boolean_is_refused(tmp_path: Path) -> None:
    data = DataFolder.at(tmp_path)
    data.create()
    with pytest.raises(SettingsInvalid, match="VITRINE_LOWER_PRIORITY is 'maybe'; it must be true or false"):
        make_plan(data, port=0, environment={"VITRINE_LOWER_PRIORITY": "maybe"})
