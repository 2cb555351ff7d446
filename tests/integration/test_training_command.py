"""Training without a queue, by the command of a machine that has only the trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.releases import TINY_MODEL, store_of
from harness.training import drawn_catalog

FIRST = f"""
kind = "classify"
name = "first"
[catalog]
dataset = "synthetic"
[data]
label = "subCategory"
relevance = ["subCategory"]
[model]
model = "{TINY_MODEL}"
weights = "seed:0"
options = {{ input_px = 48, resize_px = 48 }}
[optim]
epochs = 1
batch = 16
[projection]
components = [8]
"""
SECOND = FIRST.replace(f'model = "{TINY_MODEL}"\nweights = "seed:0"\n', "").replace('"first"', '"second"')


def test_recipes_that_go_on_after_others_are_trained_one_after_the_other(tmp_path: Path) -> None:
    drawn_catalog(tmp_path / "shop")
    (tmp_path / "first.toml").write_text(FIRST)
    (tmp_path / "second.toml").write_text(f'after = "first.toml"\n{SECOND}')
    folders = {
        "VITRINE_RELEASES_URL": f"file:{tmp_path / 'releases'}",
        "VITRINE_WORK_DIR": str(tmp_path / "work"),
        "VITRINE_RELEASES_CACHE_DIR": str(tmp_path / "cache"),
    }

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        every = [
            sys.executable,
            "-m",
            "trainer.command",
            str(tmp_path / "second.toml"),
            "--root",
            str(tmp_path / "shop"),
        ]
        return subprocess.run([*every, *arguments], env={**os.environ, **folders}, capture_output=True, text=True)

    done = command()
    assert done.returncode == 0, done.stderr
    store = store_of(tmp_path / "releases")
    second = store.manifest(json.loads(done.stdout)["release_id"])
    assert (second.model, store.manifest(second.parent or "").model) == ("second", "first")
    refused = command("--release", second.parent or "", "--weights", "seed:1")
    assert refused.returncode == 1
    assert "--weights" in refused.stderr
