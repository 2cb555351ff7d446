"""The memory of a job is estimated before it starts: a job that does not fit is refused with the option to change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import redis
import torch
from torch import nn

from harness.memory import peak_memory
from harness.releases import TINY_MODEL
from harness.training import OPTIONS, Listener, drawn_catalog, tiny_recipe, training_run
from trainer.jobs.project import ProjectJob
from trainer.memory import admitted_batch, check_training, free_bytes, memory_limit_bytes
from trainer.network_cost import LiveBytes, network_cost
from trainer.parser.run import check_memory as check_parser_memory
from trainer.settings import Settings
from trainer.tasks import build_dependencies, run_job
from trainer.training.pretrained import check_memory
from vitrine.errors import JobTooLarge
from vitrine.jobs import JobKind, JobState
from vitrine.jobs.celery import Task
from vitrine.recipe_files import read_chain, read_parser_chain
from vitrine.recipes import OptimRecipe
from vitrine.releases import Architecture, Preprocessing, ReleaseStore
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.network import choose_device

RESNET = Architecture(timm_name="resnet18", raw_dim=512)
CPU = choose_device("cpu", "float32")
GIB = 2**30
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
SHARE_OF_FREE = 0.9  # as in trainer.memory


def rules(px: int) -> Preprocessing:
    return resolve_options(model_entry("timm:resnet18"), {"input_px": px, "resize_px": px}).preprocessing


def train_all(network: nn.Module) -> None:
    network.train()


def check_resnet(batch: int, settings: Settings) -> None:
    size = rules(224)
    cost = network_cost(RESNET, size, freeze=train_all)
    check_training(cost, (224, 224), OptimRecipe(batch=batch), settings, network_option="model.model",
                   input_option="model.options.input_px")  # fmt: skip


def limited(gib: float, **settings: int) -> Settings:
    return Settings.model_validate({"trainer_max_memory_gib": gib, **settings})


def test_the_peak_of_live_bytes_is_counted() -> None:
    with LiveBytes([]) as live:
        for _ in range(3):
            first = torch.empty(1000, device="meta")
            second = first + 1
            del first, second
        kept = torch.empty(500, device="meta").view(5, 100)[1:]
        assert kept.shape == (4, 100)
    assert live.peak == 8000


def test_the_cost_grows_with_the_weights_and_the_area_of_the_pictures() -> None:
    small, large = (network_cost(RESNET, rules(px), freeze=train_all) for px in (128, 256))
    assert small.weights_bytes == large.weights_bytes == pytest.approx(44.7e6, rel=0.02)
    assert small.raw_dim == 512
    assert large.pass_bytes == pytest.approx(4 * small.pass_bytes, rel=0.05)
    assert large.training_bytes == pytest.approx(4 * small.training_bytes, rel=0.3)
    assert large.training_bytes > 2 * large.pass_bytes


def test_frozen_layers_need_no_memory_for_gradients() -> None:
    def train_the_end(network: nn.Module) -> None:
        network.requires_grad_(False)
        network.get_submodule("layer4").requires_grad_(True)

    whole, end = (network_cost(RESNET, rules(256), freeze=freeze) for freeze in (train_all, train_the_end))
    assert end.training_bytes < whole.training_bytes / 3


def test_a_smaller_batch_is_tried_before_a_job_is_refused() -> None:
    size = rules(1024)
    one_gib = network_cost(RESNET, size).pass_bytes / GIB
    assert admitted_batch(RESNET, size, limited(64), CPU, wanted=4, at_once=2) == 4
    assert admitted_batch(RESNET, size, limited(1.4 + 16 * one_gib), CPU, wanted=4, at_once=2) == 2
    with pytest.raises(JobTooLarge, match=r"lower input_px, which is 2048, to \d+ or less"):
        admitted_batch(RESNET, rules(2048), limited(1.5), CPU, wanted=4, at_once=2)
    with pytest.raises(JobTooLarge, match="VITRINE_TRAINER_BATCH, which is 16"):
        admitted_batch(RESNET, size, limited(1.5, trainer_batch=16), CPU, wanted=16, at_once=2)


def test_the_option_that_makes_a_job_too_large_is_named() -> None:
    with pytest.raises(JobTooLarge, match="sample_max"):
        admitted_batch(RESNET, rules(64), limited(2), CPU, wanted=4, features=10_000_000)
    giant = Architecture(timm_name="vit_giant_patch14_dinov2", options={"img_size": 224}, raw_dim=1536)
    with pytest.raises(JobTooLarge, match="smaller network"):
        admitted_batch(giant, rules(224), limited(6), CPU, wanted=4)


def test_the_error_names_a_batch_that_fits() -> None:
    with pytest.raises(JobTooLarge, match=r"lower optim\.batch, which is 512") as refused:
        check_resnet(512, limited(4))
    fitting = int(re.findall(r"to (\d+), and raise optim\.accumulate", refused.value.detail)[0])
    check_resnet(fitting, limited(4))
    with pytest.raises(JobTooLarge):
        check_resnet(fitting + 2, limited(4))


# VmHWM, because a child inherits ru_maxrss from its parent, here a test process that may have used far more.
_TRAINED = """
import re, pathlib, timm, torch
network = timm.create_model("resnet18", num_classes=0).train().to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters())
for pictures in (2, 2, 32, 32):
    network(torch.zeros(pictures, 3, 224, 224)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    print(int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024)
"""


def estimated_bytes(batch: int) -> float:
    with pytest.raises(JobTooLarge) as refused:
        check_resnet(batch, limited(0.1))
    return float(re.findall(r"about ([\d.]+) GiB", refused.value.detail)[0]) * GIB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_training_uses_about_the_estimated_memory() -> None:
    _, small, _, large = map(int, subprocess.check_output([sys.executable, "-c", _TRAINED]).split())
    # Thirty more pictures, so that the memory of torch itself, which depends on its build, is not included.
    assert 1 / 3 < (large - small) / (estimated_bytes(32) - estimated_bytes(2)) < 3
    assert large < 1.5 * estimated_bytes(32)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_each_recipe_fits_where_16_gib_are_free(file: Path, tmp_path: Path) -> None:
    settings = limited(SHARE_OF_FREE * 16)
    parsers = read_parser_chain(file)
    if parsers is not None:
        parser = parsers[-1].recipe
        check_parser_memory(parser, settings, CPU)
        large = parser.model.model_copy(update={"height_px": 1024, "width_px": 1024})
        with pytest.raises(
            JobTooLarge, match=r"lower (optim\.batch, which is 16, to \d|model\.height_px, which is 1024)"
        ):
            check_parser_memory(parser.model_copy(update={"model": large}), limited(4), CPU)
        return
    chain = [one.recipe for one in read_chain(file)]
    # Estimated with the first model of the chain, at the size of the last recipe, instead of a release of it.
    options = {name: value for recipe in chain for name, value in recipe.model.options.items()}
    model = chain[0].model.model_copy(
        update={"options": options, "trainable": chain[-1].model.trainable, "frozen": chain[-1].model.frozen}
    )
    recipe = chain[-1].model_copy(update={"model": model})
    store = ReleaseStore(f"file:{tmp_path}", cache_dir=tmp_path)
    check_memory(recipe, store, settings, CPU)
    if recipe.maps is not None:  # its batches are of maps, whatever the size of the pictures
        recipe = recipe.model_copy(update={"maps": None})
    huge = model.model_copy(update={"options": {"input_px": 2048, "resize_px": 2048, "input_width_px": 2048}})
    with pytest.raises(JobTooLarge):
        check_memory(recipe.model_copy(update={"model": huge}), store, settings, CPU)


def test_maps_of_frozen_modules_need_less_memory_than_passes_through_them(tmp_path: Path) -> None:
    store = ReleaseStore(f"file:{tmp_path}", cache_dir=tmp_path)
    recipe = read_chain(RECIPES[0].with_name("people.toml"))[-1].recipe
    with pytest.raises(JobTooLarge, match=r"optim\.batch, which is 384"):
        check_memory(recipe.model_copy(update={"maps": None}), store, limited(3), CPU)
    check_memory(recipe, store, limited(3), CPU)


def test_a_network_with_an_embedding_is_measured_and_not_assumed() -> None:
    architecture = Architecture(timm_name="resnet18", raw_dim=64, embedding=64)
    plain, embedded = (network_cost(one, rules(128), freeze=train_all) for one in (RESNET, architecture))
    assert embedded.training_bytes == pytest.approx(plain.training_bytes, rel=0.05)
    assert embedded.raw_dim == 64


def test_free_memory_is_that_of_the_machine_or_the_control_group(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable:    4000000 kB\n")
    assert free_bytes(meminfo=meminfo, cgroup=tmp_path) == 4_000_000 * 1024
    for name, content in (
        ("memory.max", "1000000000\n"),
        ("memory.current", "600000000\n"),
        ("memory.stat", "anon 500000000\ninactive_file 100000000\n"),
    ):
        (tmp_path / name).write_text(content)
    assert free_bytes(meminfo=meminfo, cgroup=tmp_path) == 500_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(meminfo=meminfo, cgroup=tmp_path) == 4_000_000 * 1024
    assert 0 < memory_limit_bytes(Settings()) < 2**50
    assert memory_limit_bytes(limited(3.5)) == int(3.5 * GIB)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_job_with_a_huge_input_is_refused_at_once_and_takes_no_memory(tmp_path: Path, client: redis.Redis) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=40)
    settings = Settings(
        work_dir=tmp_path / "work",
        reports_dir=tmp_path / "reports",
        releases_url=f"file:{tmp_path / 'releases'}",
        catalog_roots=(tmp_path,),
        trainer_max_memory_gib=3,
    )
    params = {
        "dataset": "drawn", "reader": "synthetic", "root": str(catalog.root), "model": "timm:resnet50",
        "weights": "seed:0", "options": {"input_px": 2048}, "components": 8, "whiten": False, "seed": 0, "limit": None,
        "sample_max": 1000,
    }  # fmt: skip
    parts = build_dependencies(settings, client)
    job, _ = parts.jobs.create(JobKind.PROJECT, params)
    with peak_memory() as peak:
        run_job(parts, job.id, Task.PROJECT, lambda *given: ProjectJob(*given).run())
    ended = parts.jobs.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.code == "job_too_large"
    assert "input_px, which is 2048" in ended.error.detail
    assert peak.grown_bytes < 300_000_000


def test_a_training_that_does_not_fit_is_refused_before_its_network_is_built(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop")
    recipe = tiny_recipe(model={"model": TINY_MODEL, "weights": "seed:0", "options": {**OPTIONS, "input_px": 1024,
                                "resize_px": 1024}}, optim={"epochs": 1, "batch": 256})  # fmt: skip
    listener = Listener()
    with pytest.raises(JobTooLarge, match=r"optim\.batch"):
        training_run(recipe, catalog, tmp_path, listener, trainer_max_memory_gib=2.0).run()
    assert not (tmp_path / "work" / "pixels").exists()


def test_a_full_gpu_ends_the_job_with_the_options_to_change(client: redis.Redis) -> None:
    def work(*_: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory")

    parts = build_dependencies(Settings(), client)
    job, _ = parts.jobs.create(JobKind.PROJECT, {})
    run_job(parts, job.id, Task.PROJECT, work)
    ended = parts.jobs.get(job.id)
    assert ended.error is not None
    assert ended.error.code == "job_too_large"
    assert "optim.batch" in ended.error.detail
