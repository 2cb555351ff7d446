"""A full disk is reported with the folder and its setting, for each folder of the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from harness.disks import fill
from harness.releases import TINY_MODEL, store_of
from harness.training import OPTIONS, Listener, drawn_catalog, tiny_recipe
from trainer.full_disk import reporting_full_disk
from trainer.jobs.project import ProjectJob
from trainer.settings import Settings
from trainer.tasks import build_dependencies, run_job
from trainer.training.run import TrainingRun
from vitrine.errors import StorageFull
from vitrine.jobs import JobKind, JobState
from vitrine.jobs.celery import Task


def settings_below(folder: Path) -> Settings:
    """Every folder of the trainer, below `folder`."""
    return Settings(
        work_dir=folder / "work",
        reports_dir=folder / "reports",
        releases_cache_dir=folder / "cache",
        releases_url=f"file:{folder / 'releases'}",
        catalog_roots=(folder,),
    )


@pytest.mark.parametrize(
    ("field", "variable"),
    [
        ("work_dir", "VITRINE_WORK_DIR"),
        ("reports_dir", "VITRINE_REPORTS_DIR"),
        ("releases_cache_dir", "VITRINE_RELEASES_CACHE_DIR"),
        ("releases_url", "VITRINE_RELEASES_URL"),
    ],
)
def test_the_error_names_the_full_folder_and_its_setting(
    tmp_path: Path, small_disk: Path, field: str, variable: str
) -> None:
    place = small_disk / "not made yet"
    settings = settings_below(tmp_path).model_copy(
        update={field: f"file:{place}" if field == "releases_url" else place}
    )
    fill(small_disk)
    with pytest.raises(StorageFull, match=f"{place} is full.*{variable}"), reporting_full_disk(settings):
        (small_disk / "one more").write_bytes(bytes(4096))


def test_the_error_may_name_the_folder_of_temporary_files(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    fill(small_disk)
    with pytest.raises(StorageFull, match="TMPDIR"), reporting_full_disk(settings_below(tmp_path)):
        (small_disk / "one more").write_bytes(bytes(4096))


def test_other_disk_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), reporting_full_disk(settings_below(tmp_path)):
        (tmp_path / "absent" / "file").write_bytes(b"")


def test_a_job_on_a_full_disk_ends_with_storage_full(tmp_path: Path, small_disk: Path, client: redis.Redis) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=40)
    settings = settings_below(tmp_path).model_copy(update={"releases_url": f"file:{small_disk / 'releases'}"})
    fill(small_disk)
    params = {
        "dataset": "drawn", "reader": "synthetic", "root": str(catalog.root), "model": TINY_MODEL, "weights": "seed:0",
        "options": OPTIONS, "components": 8, "whiten": False, "seed": 0, "limit": None, "sample_max": 1000,
    }  # fmt: skip
    parts = build_dependencies(settings, client)
    job, _ = parts.jobs.create(JobKind.PROJECT, params)
    run_job(parts, job.id, Task.PROJECT, lambda *given: ProjectJob(*given).run())
    ended = parts.jobs.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.code == "storage_full"
    assert "VITRINE_RELEASES_URL" in ended.error.detail
    assert not (small_disk / "releases").exists() or not list((small_disk / "releases").iterdir())


def test_a_training_stopped_by_a_full_disk_continues_from_its_checkpoint(tmp_path: Path, small_disk: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop")
    settings = settings_below(tmp_path).model_copy(update={"releases_url": f"file:{small_disk / 'releases'}"})

    def train(releases: Path, listener: Listener) -> str:
        folder = settings.work_dir / "run"
        run = TrainingRun(tiny_recipe(), catalog, store_of(releases), settings, folder, listener)
        return str(run.run()["release_id"])

    fill(small_disk)
    with pytest.raises(StorageFull, match="VITRINE_RELEASES_URL"), reporting_full_disk(settings):
        train(small_disk / "releases", Listener())
    listener = Listener()
    release_id = train(tmp_path / "releases", listener)
    assert any("resumed from the checkpoint" in note for note in listener.notes)
    assert store_of(tmp_path / "releases").ids() == [release_id]
