"""The command line: which commands are accepted, which are refused, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from vitrine.errors import ParameterInvalid
from vitrine_local.cli import main
from vitrine_local.cli.api import Target, find_target
from vitrine_local.cli.app import COMMANDS, app
from vitrine_local.cli.options import assignments, mapping_of, model_name
from vitrine_local.cli.paths import catalog_of_file, catalog_root, second_catalog, weights_path
from vitrine_local.cli.results import shown_attributes
from vitrine_local.cli.search import search_fields
from vitrine_local.data_folder import DataFolder, RunRecord, ServiceRecord
from vitrine_local.demo_catalog.generate import generate_catalog
from vitrine_local.errors import ServerUnreachable, UsageInvalid

NOWHERE = "http://127.0.0.1:9"  # the discard port, where no server listens


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "catalog"
    generate_catalog(folder, count=25, seed=3, processes=1)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = DataFolder.at(tmp_path / "data")
    folder.create()
    return folder


def run_record(url: str) -> RunRecord:
    return RunRecord(url=url, ready=True, started_at="2026-01-01T00:00:00+00:00", supervisor_pid=1, ports={}, pids={})


@pytest.mark.parametrize(
    "line",
    [
        "up --data here --port 0",
        "demo --once --count 500",
        "status --json",
        "catalog inspect --dataset fashion-product folder --json --pictures",
        "catalog generate folder --count 10 --seed 3",
        "index --dataset shop --root folder --model resnet50 --release resnet50-0123456789 --limit 3 --no-wait",
        "search picture.jpg --model resnet50 --k 15 --filter gender=Women --filter gender=Men --sheet out.png --json",
        "search picture.jpg --model resnet50 --cutout --min-confidence 0.5",
        "search picture.jpg --model resnet50 --regions auto --k 3",
        "search picture.jpg --model resnet50 --region 2",
        "release create --model resnet50 --weights seed:3 --option pad_type=same --dataset shop --root folder "
        "--components 64 --no-whiten --seed 2 --limit 100",
        "release list",
        "release show resnet50-0123456789",
        "release activate resnet50-0123456789 --dataset shop",
        "index --dataset shop --root folder --model resnet50 --allow-removal",
        "dataset list --json",
        "dataset drop shop --yes --uploads",
        "product restore 7747 --dataset shop",
        "product deleted --dataset shop --limit 10",
        "jobs",
        "jobs 0123456789abc01234567 --cancel",
        "jobs 0123456789abc01234567 --follow --json",
    ],
)
def test_the_documented_command_lines_are_accepted(line: str) -> None:
    command: Any = get_command(app)
    context = command.make_context("vitrine", line.split())
    name, arguments = "vitrine", line.split()
    while isinstance(command, TyperGroup):
        name, command, arguments = command.resolve_command(context, arguments)  # type: ignore[assignment]
        context = command.make_context(name, list(arguments), parent=context)
    assert callable(command.callback)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "serach picture.jpg",
        "index --dataset shop",
        "index --dataset shop --root . --model resnet50 --limit 0",
        "search picture.jpg --model resnet50 --k many",
        "catalog inspect --dataset shop --reader excel .",
        "jobs ID --cancel --follow",
        "jobs --cancel",
        "up --port 70000",
        "demo --count 5",
        "search --mod resnet50 picture.jpg",
    ],
)
def test_a_wrong_command_line_exits_with_2_and_gives_the_reason(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err


def test_help_and_version_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "release" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert main(["release", "create", "--help"]) == 0
    assert "--no-whiten" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert COMMANDS[name].help in shown


def test_help_imports_no_command() -> None:
    code = "import sys; from vitrine_local.cli import main; main(['--help']); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("pydantic", "redis", "httpx", "rich", "numpy", "PIL"):
        assert f"'{module}'" not in shown, module


def test_a_value_outside_the_bounds_of_the_job_names_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["release", "create", "--model", "resnet50", "--dataset", "shop", "--root", str(tmp_path), "--url", NOWHERE]
    assert main([*line, "--components", "0"]) == 2
    assert "components: Input should be greater than or equal to 1" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["status", "jobs", "release list", "release show x", "jobs 0123456789abc01234567"])
def test_without_a_server_the_error_is_one_line_with_a_remedy(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line.split(), "--url", NOWHERE]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: no search API answers at {NOWHERE}")
    assert "vitrine up" in captured.err
    assert captured.err.count("\n") == 1


def test_the_address_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITRINE_URL", NOWHERE)
    assert main(["status"]) == 1
    assert NOWHERE in capsys.readouterr().err


def test_a_missing_picture_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "no-such.jpg", "--model", "m", "--url", NOWHERE]) == 2
    assert "no-such.jpg cannot be read" in capsys.readouterr().err


def test_a_folder_of_pictures_needs_a_file_for_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["search", str(tmp_path), "--model", "m", "--url", NOWHERE]
    for more, words in (
        ([], "name a .jsonl or .csv file for the results with --output"),
        (["--output", str(tmp_path / "out.xml")], "give it one of these suffixes"),
        (["--output", str(tmp_path / "out.csv"), "--json"], "are for one picture"),
        (["--output", str(tmp_path / "out.csv")], "has no picture"),
    ):
        assert main([*line, *more]) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_inspect_counts_attributes_and_lists_issues_by_id(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (catalog / "images" / "10003.jpg").rename(catalog / "images" / "10003.away")
    try:
        assert main(["catalog", "inspect", "--dataset", "synthetic", str(catalog)]) == 0
        text = capsys.readouterr().out
        assert main(["catalog", "inspect", "--dataset", "synthetic", str(catalog), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
    finally:
        (catalog / "images" / "10003.away").rename(catalog / "images" / "10003.jpg")
    assert "24 products in 25 rows" in text
    assert "missing_picture: 1 (there is no such picture; left out)" in text
    assert "  10003  line 4  " in text
    assert answer["products"] == 24
    assert answer["rows"] == 25
    assert sum(answer["attributes"]["gender"].values()) == 24
    assert answer["fault_counts"] == {"missing_picture": 1}
    assert [(fault["product_id"], fault["kept"]) for fault in answer["faults"]] == [("10003", False)]


def test_inspect_lists_the_renamed_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.jpg").touch()
    (tmp_path / "products.csv").write_text("id,cutout,price,priceMin\n1,Yes,20,10\n")
    assert main(["catalog", "inspect", "--dataset", "shop", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "cutout -> cutout_ ('cutout' is an option of a call)" in printed
    assert "priceMin -> priceMin_ ('priceMin' means a range filter)" in printed


def test_inspect_can_decode_every_picture(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoiled = catalog / "images" / "10002.jpg"
    kept = spoiled.read_bytes()
    spoiled.write_bytes(kept[: len(kept) // 2])
    try:
        assert main(["catalog", "inspect", "--dataset", "synthetic", str(catalog), "--pictures"]) == 0
    finally:
        spoiled.write_bytes(kept)
    out = capsys.readouterr().out
    assert "25 pictures: JPEG 24; usual size 120x160" in out
    assert "cannot be used: 1\n  10002  truncated" in out


def test_a_missing_folder_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "inspect", "--dataset", "fashion-product", str(tmp_path / "nowhere")]) == 1
    assert f"there is no catalogue folder {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_generate_draws_the_same_catalogue_for_the_same_seed(
    tmp_path: Path, catalog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    assert main(["catalog", "generate", str(again), "--count", "25", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"25 products in {again}\n"
    assert (again / "styles.csv").read_bytes() == (catalog / "styles.csv").read_bytes()
    assert (again / "images" / "10007.jpg").read_bytes() == (catalog / "images" / "10007.jpg").read_bytes()
    assert main(["catalog", "generate", str(again), "--count", "25"]) == 2, (
        "a folder that is not empty is left unchanged"
    )


def test_a_root_given_to_the_local_system_is_allowed_once(data: DataFolder, catalog: Path) -> None:
    target = Target("http://127.0.0.1:8000", local=data)
    assert catalog_root(target, catalog / ".." / catalog.name) == str(catalog)
    assert catalog_root(target, catalog) == str(catalog)
    assert data.catalog_roots_file.read_text().splitlines() == [str(catalog)]


def test_a_root_behind_a_link_is_allowed_by_its_real_path(data: DataFolder, catalog: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(catalog)
    assert catalog_root(Target("http://127.0.0.1:8000", local=data), link) == str(catalog)


def test_a_root_for_a_remote_system_is_sent_unchanged(catalog: Path) -> None:
    elsewhere = Target("https://vitrine.example")
    assert catalog_root(elsewhere, Path("/srv/catalog")) == "/srv/catalog"
    with pytest.raises(UsageInvalid, match="absolute path"):
        catalog_root(elsewhere, Path("catalog"))


def test_a_root_that_is_not_a_folder_is_refused_and_not_allowed(data: DataFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageInvalid, match="not a folder"):
        catalog_root(Target("http://127.0.0.1:8000", local=data), tmp_path / "nowhere")
    assert data.allowed_roots() == ()


def test_weights_are_a_keyword_or_an_existing_file(data: DataFolder, tmp_path: Path) -> None:
    target = Target("http://127.0.0.1:8000", local=data)
    assert weights_path(target, "pretrained") == "pretrained"
    assert weights_path(target, "seed:7") == "seed:7"
    assert data.allowed_roots() == ()
    file = tmp_path / "weights" / "net.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert weights_path(target, str(file)) == str(file)
    assert data.allowed_roots() == (file,), "only the file is allowed, not its folder"
    with pytest.raises(UsageInvalid, match="there is no file"):
        weights_path(target, "pretraned")
    with pytest.raises(UsageInvalid, match="absolute path"):
        weights_path(Target("https://vitrine.example"), "net.safetensors")


def test_the_running_system_on_the_data_folder_is_found(data: DataFolder) -> None:
    with data.lock():
        data.write_run(run_record("http://127.0.0.1:4321"))
        found = find_target(None, data.root)
        assert (found.url, found.local) == ("http://127.0.0.1:4321", data)
        assert find_target("http://127.0.0.1:4321/", data.root).local == data
        assert find_target("https://vitrine.example", data.root).local is None


def test_status_names_the_failing_service_and_since_when(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    since = "2026-11-30T10:00:00+00:00"
    record = run_record("http://127.0.0.1:9").model_copy(
        update={
            "services": {
                "redis": ServiceRecord(state="ready", since=since),
                "trainer": ServiceRecord(state="restarting", since=since, deaths=3, reason="killed by SIGKILL"),
            }
        }
    )
    with data.lock():
        data.write_run(record)
        assert main(["status", "--data", str(data.root)]) == 1
        shown = capsys.readouterr()
        assert main(["status", "--json", "--data", str(data.root)]) == 1
        supervisor = json.loads(capsys.readouterr().out)["supervisor"]
    assert f"trainer     DOWN   restarting since {since} (killed by SIGKILL, died 3 times)" in shown.out
    assert "search-api  DOWN   does not answer" in shown.out
    assert "redis       up" in shown.out
    assert "not every service is up: search-api, trainer" in shown.err
    assert supervisor["trainer"] == {"state": "restarting", "since": since, "deaths": 3, "reason": "killed by SIGKILL"}


def test_the_run_record_of_a_dead_system_is_ignored(data: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    data.write_run(run_record("http://127.0.0.1:4321"))
    with pytest.raises(ServerUnreachable, match="no Vitrine runs on"):
        find_target(None, data.root)
    monkeypatch.chdir(data.root)
    assert find_target(None, None) == Target("http://127.0.0.1:8000")


def test_filters_are_form_fields_and_may_be_repeated() -> None:
    pairs = assignments("--filter", ["gender=Women", "gender=Girls", "name=a=b"])
    assert search_fields(pairs, model="m", topK=5, dataset=None) == {
        "model": ["m"],
        "topK": ["5"],
        "gender": ["Women", "Girls"],
        "name": ["a=b"],
    }
    with pytest.raises(UsageInvalid, match="topK is no field"):
        search_fields([("topK", "3")], topK=5)
    for wrong in ("gender", "=Women", "gender="):
        if wrong == "gender=":
            assert assignments("--filter", [wrong]) == [("gender", "")]
        else:
            with pytest.raises(UsageInvalid, match="NAME=VALUE"):
                assignments("--filter", [wrong])


def test_the_table_shows_the_usual_attributes_or_the_first_ones() -> None:
    usual = [{"id": 1, "score": 0.5, "dataset": "d", "image": "/i", "usage": "Casual", "gender": "Men", "name": "A"}]
    assert shown_attributes(usual) == ["gender"]
    other: list[dict[str, object]] = [{"id": 1, "score": 0.5, "image": "/i", "a": 1}, {"id": 2, "b": 1, "c": 2}]
    assert shown_attributes(other) == ["a", "b", "c"]


def test_a_model_of_timm_is_searched_without_the_prefix() -> None:
    assert model_name("timm:resnet10t") == "resnet10t"
    assert model_name("mobilenetv2_100") == "mobilenetv2_100"


def test_the_command_line_overrides_the_catalogue_of_a_file() -> None:
    elsewhere = Target("http://127.0.0.1:8000")
    table = {"dataset": "fashion-product", "root": "/srv/fashion", "limit": 9}

    def found(
        table: dict[str, Any], *, dataset: str | None, limit: int | None, columns: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return catalog_of_file(
            elsewhere, table, file="plan", dataset=dataset, reader=None, root=None, limit=limit, columns=columns
        )

    assert found(table, dataset="shop", limit=5) == {
        "dataset": "shop", "reader": "folder", "root": "/srv/fashion", "limit": 5,
    }  # fmt: skip
    assert found(table, dataset=None, limit=None) == {
        "dataset": "fashion-product", "reader": "fashion-product", "root": "/srv/fashion", "limit": 9,
    }  # fmt: skip
    mapped = {**table, "mapping": {"id": "Handle"}}
    assert found(mapped, dataset=None, limit=None)["mapping"] == {"id": "Handle"}
    assert found(mapped, dataset=None, limit=None, columns={"id": "SKU"})["mapping"] == {"id": "SKU"}
    assert found(mapped, dataset=None, limit=None, columns=mapping_of(["none"]))["mapping"] == {}
    with pytest.raises(ParameterInvalid, match="--root, or the plan's catalog table"):
        found({"dataset": "shop"}, dataset=None, limit=None)


def test_a_second_catalogue_needs_both_name_and_folder() -> None:
    elsewhere = Target("http://127.0.0.1:8000")
    street = Path("/srv/street")
    assert second_catalog(elsewhere, "street", dataset=None, reader="folder", root=None) is None
    with pytest.raises(ParameterInvalid, match="--street-dataset and --street-root belong together"):
        second_catalog(elsewhere, "street", dataset=None, reader="folder", root=street)
    assert second_catalog(elsewhere, "street", dataset="photographs", reader="folder", root=street) == {
        "dataset": "photographs", "reader": "folder", "root": "/srv/street",
    }  # fmt: skip


def test_an_evaluation_without_releases_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate"]) == 2
    assert capsys.readouterr().err == "error: name one or more releases, or a plan that does (--plan)\n"


def test_inspect_shows_how_a_table_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for picture in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / picture).touch()
    gone = "".join(f"{number},gone{number}.jpg,M,5\n" for number in range(10, 15))
    table = f"Ref,Shot,Size,Cost\n7,a.jpg|b.jpg,M,5\n8,c.jpg,38,6.5\n{gone}"
    (tmp_path / "shop.csv").write_text(table)
    line = ["catalog", "inspect", str(tmp_path), "--map", "id=Ref", "--map", "picture=shot", "--map", "price=Cost"]
    assert main(line) == 0
    text = capsys.readouterr().out
    assert "layout: table\ntable: shop.csv (CSV, comma, UTF-8)\n" in text
    assert "columns: id = 'Ref', picture = 'Shot', price = 'Cost'" in text
    assert "2 products with 3 pictures" in text
    assert text.count("column 'Shot' is 'gone1") == 3
    assert "and 2 more; --all lists them" in text
    assert main([*line, "--all"]) == 0
    assert capsys.readouterr().out.count("column 'Shot' is 'gone1") == 5
    assert main([*line, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reading"]["layout"] == "table"
    assert answer["reading"]["columns"]["price"] == "Cost"
    assert answer["kinds"] == {"Size": "keyword", "price": "decimal"}
    assert answer["product_pictures"] == 3
    assert len(answer["faults"]) == 5


def test_a_column_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.csv").write_text("Ref,Shot\n7,a.jpg\n")
    assert main(["catalog", "inspect", str(tmp_path), "--map", "id=Reff"]) != 0
    assert "shop.csv has no column 'Reff'; the likeliest is 'Ref'" in capsys.readouterr().err
