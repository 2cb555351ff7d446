"""The whole system on one machine as a new user meets it: the demonstration, the commands on what it left running, and
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from PIL import Image

from harness.processes import Process
from harness.waiting import HUNG_AFTER_S, wait_until
from tools.dist import build, metadata_of
from tools.version import ROOT, current_version
from vitrine_local.bundled import MODEL
from vitrine_local.cli import main
from vitrine_local.cli.demo import DATASET, K
from vitrine_local.data_folder import DataFolder, RunRecord

pytestmark = pytest.mark.slow

VITRINE = str(Path(sys.executable).with_name("vitrine"))
COUNT = 300
OTHER = "resnet10t"  # a model that does not come with Vitrine


class Command(Process):
    """`vitrine ...` as a process of its own, its screen in a file."""

    def __init__(self, *arguments: str, folder: Path, program: str = VITRINE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside other tests a trainer of low priority gets no CPU time.
        environment = {"VITRINE_LOWER_PRIORITY": "false"}
        super().__init__([program, *arguments], log=folder / "screen.txt", env=environment, cwd=folder)

    @property
    def screen(self) -> str:
        return self.log.read_text()

    def wait_ready(self) -> str:
        """The address in its line `ready: ...`."""

        def address() -> str | None:
            if not self.running():
                pytest.fail(f"the command ended with {self.popen.returncode}\n{self.screen}")
            found = re.search(r"^ready: (http://127\.0\.0\.1:\d+)$", self.screen, re.MULTILINE)
            return found[1] if found else None

        with contextlib.suppress(AssertionError):
            found = wait_until(address, what="the ready line")
            assert found is not None
            return found
        pytest.fail(f"no ready line\n{self.screen}")

    def wait_end(self) -> int:
        try:
            return self.popen.wait(HUNG_AFTER_S)
        finally:
            self.kill()

    def interrupt(self) -> int:
        """Ctrl-C."""
        self.popen.send_signal(signal.SIGINT)
        return self.wait_end()


def processes_of(folder: Path) -> list[int]:
    """Every process that has the folder in its command line or its environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                said = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
                if os.fsencode(folder) in said:
                    found.append(int(process.name))
    return found


def table(text: str) -> list[dict[str, str]]:
    """The rows of the table of results."""
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["rank", "id"])
    names = lines[head].split()
    rows = []
    for line in lines[head + 1 :]:
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) != len(names):
            break
        rows.append(dict(zip(names, cells, strict=True)))
    return rows


def installed(folder: Path) -> Path:
    """The `vitrine` of a new environment with the wheels of `make dist`. Packages of others come from this one's."""
    wheels = build(folder / "dist")
    environment, uv = folder / "environment", str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--compile-bytecode", "--python", python, *wheels],
        check=True,
    )
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    # It gives the packages, but not the checkout: the links of editable members are not followed from here.
    (own / "packages_of_others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    if (Path(sys.prefix) / "redis").exists():
        (environment / "redis").symlink_to(Path(sys.prefix) / "redis")
    return environment / "bin" / "vitrine"


def test_demo_once_runs_from_wheels_without_a_checkout_and_leaves_nothing(tmp_path: Path) -> None:
    vitrine = installed(tmp_path / "installed")
    (wheel,) = (tmp_path / "installed" / "dist").glob("vitrine_search-*.whl")
    needed = {str(one) for one in metadata_of(wheel).requires_dist or ()}
    assert f"vitrine-local=={current_version()}" in needed
    assert all(one.endswith(f"=={current_version()}") for one in needed)
    names = ("vitrine", "vitrine_client", "vitrine_local", "search_api", "embedder", "indexer", "trainer")
    show = f"import {', '.join(names)}; print(*(one.__file__ for one in ({', '.join(names)})), sep='\\n')"
    where = subprocess.run(
        [vitrine.with_name("python"), "-c", show], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.splitlines()
    assert len(where) == len(names)
    assert all(Path(path).is_relative_to(tmp_path / "installed" / "environment") for path in where)
    folder = tmp_path / "work"
    command = Command(
        "demo", "--once", "--count", str(COUNT), "--data", str(folder / "data"), folder=folder, program=str(vitrine)
    )
    assert command.wait_end() == 0, command.screen
    screen = command.screen
    assert re.search(rf"The network is {MODEL}-[0-9a-f]{{10}}, which comes with Vitrine", screen)
    assert f"index succeeded: {COUNT} pictures done, 0 failed" in screen
    rows = table(screen)
    assert len(rows) == K
    assert {row["gender"] for row in rows} == {"Women"}
    assert [row["articleType"] for row in rows].count("Tops") >= K // 2, "the query is a drawn top"
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]
    assert re.search(r"^ready: http://127\.0\.0\.1:\d+$", screen, re.MULTILINE)
    assert processes_of(tmp_path) == []
    recipes = vitrine.parents[1].glob("lib/*/site-packages/vitrine_local/recipes/*.toml")
    assert {path.name for path in recipes} == {path.name for path in (ROOT / "recipes").glob("*.toml")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("system")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[Command]:
    """A demonstration that stays up."""
    command = Command("demo", "--count", str(COUNT), "--data", str(folder / "data"), folder=folder)
    try:
        command.wait_ready()
        yield command
    finally:
        command.kill()


class Commands:
    """The commands, run on the demonstration's data folder."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def json(self, *arguments: str) -> Any:
        assert main([*arguments, "--json", "--data", str(self.data)]) == 0, self._capsys.readouterr().err
        return json.loads(self._capsys.readouterr().out)

    def text(self, *arguments: str) -> str:
        assert main([*arguments, "--data", str(self.data)]) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        assert main([*arguments, "--data", str(self.data)]) == 1
        return self._capsys.readouterr().err


@pytest.fixture
def vitrine(demo: Command, folder: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    assert demo.running()
    capsys.readouterr()
    return Commands(folder / "data", capsys)


def test_status_tells_every_service_and_what_is_indexed(vitrine: Commands) -> None:
    answer = vitrine.json("status")
    assert {name for name, facts in answer["services"].items() if facts["up"]} >= {"embedder", "indexer", "trainer"}
    assert [(item["dataset"], item["models"][0]["products"]) for item in answer["datasets"]] == [(DATASET, COUNT)]
    text = vitrine.text("status")
    assert "DOWN" not in text
    assert re.search(rf"{DATASET} +{MODEL} +{MODEL}-[0-9a-f]{{10}} +{COUNT}", text)


def test_other_users_of_the_machine_are_kept_out_and_see_no_secret(vitrine: Commands) -> None:
    data = DataFolder.at(vitrine.data)
    run, secrets = data.read_run(), data.read_secrets()
    assert run is not None
    assert secrets is not None
    for service, path in (("qdrant", "/collections"), ("embedder", "/v1/releases")):
        assert httpx.get(f"http://127.0.0.1:{run.ports[service]}{path}").status_code in (401, 403)
    with redis.Redis(port=run.ports["redis"]) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    hidden = [getattr(secrets, name).get_secret_value() for name in type(secrets).model_fields]
    shown = [path.read_text(errors="replace") for path in (data.run_file, *data.logs.iterdir())]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                shown.append((process / "cmdline").read_text(errors="replace"))
    assert not any(secret in text for secret in hidden for text in shown)
    assert stat.S_IMODE(data.root.stat().st_mode) == 0o700


def found_as_itself(answer: dict[str, Any]) -> set[int]:
    """The products whose vectors are the query's own but for rounding: some drawn pictures are all but the same."""
    best = answer["results"][0]["score"]
    return {int(one["id"]) for one in answer["results"] if one["score"] > best - 1e-3}


def test_a_search_finds_the_query_itself_first_and_keeps_to_the_filters(vitrine: Commands, tmp_path: Path) -> None:
    picture = next((vitrine.data / f"catalog-{COUNT}" / "images").glob("*.jpg"))
    answer = vitrine.json("search", str(picture), "--model", MODEL, "--k", "5")
    assert int(picture.stem) in found_as_itself(answer)
    assert answer["results"][0]["score"] == pytest.approx(1.0, abs=1e-3)
    sheet = tmp_path / "sheet.png"
    arguments = ["--filter", "gender=Men", "--filter", "gender=Boys", "--filter", "yearMin=2014", "--sheet", str(sheet)]
    filtered = vitrine.json("search", str(picture), "--model", MODEL, "--k", "12", *arguments)
    assert len(filtered["results"]) == 12
    assert all(result["gender"] in {"Men", "Boys"} and result["year"] >= 2014 for result in filtered["results"])
    with Image.open(sheet) as image:
        assert image.width > image.height > 600, "twelve results are three rows"


def test_what_the_search_api_refuses_is_one_line_with_its_code(vitrine: Commands) -> None:
    picture = next((vitrine.data / f"catalog-{COUNT}" / "images").glob("*.jpg"))
    error = vitrine.refused("search", str(picture), "--model", MODEL, "--filter", "colour=Red")
    assert error.startswith("error: ")
    assert "(filter_invalid)" in error
    assert error.count("\n") == 1
    assert "(model_unknown)" in vitrine.refused("search", str(picture), "--model", "resnet50")
    assert "there is no release" in vitrine.refused("release", "show", "nothing-0123456789")


def test_a_second_release_is_made_indexed_and_taken_back(vitrine: Commands) -> None:
    root = str(vitrine.data / f"catalog-{COUNT}")
    releases = []
    for seed, components in (("seed:0", "64"), ("seed:9", "32")):
        made = vitrine.json(
            "release", "create", "--model", f"timm:{OTHER}", "--weights", seed, "--components", components,
            "--no-whiten", "--dataset", DATASET, "--root", root,
        )  # fmt: skip
        assert made["state"] == "succeeded"
        releases.append(made["result"]["release_id"])
        indexed = vitrine.json(
            "index", "--dataset", DATASET, "--root", root, "--model", OTHER, "--release", releases[-1]
        )  # fmt: skip
        assert (indexed["progress"]["done"], indexed["progress"]["failed"]) == (COUNT, 0)
    first, second = releases
    assert first != second
    shown = vitrine.text("release", "show", second)
    assert f"{DATASET} ({COUNT} products, serving)" in shown
    assert "components   32" in shown
    assert vitrine.json("release", "activate", first, "--dataset", DATASET)["previous"] == second
    serving = {
        release["id"]: release["collections"][0]["serving"]
        for release in vitrine.json("release", "list")["releases"]
        if release["id"] in releases
    }
    assert serving == {first: True, second: False}


def test_jobs_are_listed_shown_and_not_cancelled_once_they_ended(vitrine: Commands) -> None:
    jobs = vitrine.json("jobs")["jobs"]
    kinds = [job["kind"] for job in jobs]
    assert kinds[-1] == "index", "newest first"
    job = jobs[-1]["id"]
    assert job in vitrine.text("jobs")
    assert "state          succeeded" in vitrine.text("jobs", job)
    assert "index succeeded" in vitrine.text("jobs", job, "--follow")
    assert "(job_finished)" in vitrine.refused("jobs", job, "--cancel")


def test_an_indexing_that_fails_ends_the_command_with_1(vitrine: Commands, tmp_path: Path) -> None:
    error = vitrine.refused("index", "--dataset", "empty", "--root", str(tmp_path), "--model", MODEL)
    assert "error: " in error
    assert "CSV" in error


def test_ctrl_c_leaves_no_process_and_up_serves_what_was_indexed(
    demo: Command, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder / "data"
    run = DataFolder.at(data).read_run()
    assert isinstance(run, RunRecord)
    assert len(processes_of(folder)) > 5
    assert demo.interrupt() == 0, demo.screen
    assert processes_of(folder) == []
    up = Command("up", "--port", "0", "--data", str(data), folder=folder / "up")
    try:
        up.wait_ready()
        commands = Commands(data, capsys)
        picture = next((data / f"catalog-{COUNT}" / "images").glob("*.jpg"))
        found = commands.json("search", str(picture), "--model", MODEL, "--k", "3")
        assert int(picture.stem) in found_as_itself(found)
        assert "search-api | " in up.screen
        up.popen.send_signal(signal.SIGTERM)
        assert up.wait_end() == 0, up.screen
        assert processes_of(folder) == []
    finally:
        up.kill()
