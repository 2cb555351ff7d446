"""End-to-end check of the reference's six backbones. Each is built, truncated, fine-tuned for one epoch with its own
rule of unfreezing on a small selection, projected, published, loaded by a real embedder, and asked for the vector of a
picture over HTTP.

    python -m benchmarks.backbones --root PATH [--count 120] [--weights seed:0] [--models resnet50 ...]

Prints the size of each feature, how much of the network was trained, whether the rest stayed bit-identical, and the
speed. Retrieval metrics are not shown: with random weights and so few pictures they mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import httpx
import torch
from safetensors.torch import load_file

from benchmarks.embedder_parts.prepared import StoredRelease
from benchmarks.embedder_parts.servers import embedder
from benchmarks.tables import head, row
from trainer.progress import NoProgress
from trainer.settings import Settings
from trainer.training.pretrained import load_initial_model
from trainer.training.run import TrainingRun
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.recipe_files import read_recipe
from vitrine.recipes import Recipe
from vitrine.releases import ReleaseStore
from vitrine.settings import load_settings
from vitrine.vision.models import model_entry

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "classify-reference.toml"
SIX = ("vgg16", "resnet50", "inception_v3", "inception_resnet_v2", "densenet161", "efficient_net_b4")
COMPONENTS = 16
REQUESTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--models", nargs="+", default=SIX, choices=SIX)
    parser.add_argument("--weights", default="seed:0", help="seed:N or pretrained (default: seed:0)")
    parser.add_argument("--count", type=int, default=120, help="number of products (default: 120)")
    parser.add_argument("--label", default="masterCategory", help="attribute to classify (default: masterCategory)")
    arguments = parser.parse_args()
    reader = reader_for(arguments.dataset)
    catalog = read_catalog(reader, arguments.root, dataset=arguments.dataset, limit=arguments.count)
    heads = ("model", "input", "feature", "parameters", "trained", "frozen unchanged", "training, pictures/s")
    print(head(*heads, "vector over HTTP", "one picture, ms"))
    for model in arguments.models:
        print(row(model, *cells(model, catalog, arguments)), flush=True)
    return 0


def cells(model: str, catalog: Catalog, arguments: argparse.Namespace) -> list[str]:
    """The cells of one backbone."""
    recipe = recipe_of(model, arguments)
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as made:
        folder = Path(made)
        settings = load_settings(Settings).model_copy(
            update={"work_dir": folder / "work", "releases_url": f"file:{folder / 'releases'}"}
        )
        store = ReleaseStore(settings.releases_url, cache_dir=folder / "cache")
        start = load_initial_model(recipe.model, seed=recipe.seed, store=store, checked_weights=lambda weights: weights)
        before = {name: tensor.clone() for name, tensor in start.loaded.network.state_dict().items()}
        result = TrainingRun(recipe, catalog, store, settings, folder / "work" / model, NoProgress()).run()
        release_id = str(result["release_id"])
        after = load_file(store.local_folder(release_id) / "weights.safetensors")
        parts = model_entry(model).trainable
        trained = {name for name in before if name.startswith(parts)}
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        stored = StoredRelease(settings.releases_url, str(folder / "cache"), release_id)
        dim, spent_ms = measure_embedder(stored, settings, catalog)
        rules = store.manifest(release_id).preprocessing
        return [
            f"{rules.height_px}x{rules.width_px}",
            str(store.manifest(release_id).architecture.raw_dim),
            f"{count(before, set(before)):.1f} M",
            f"{count(before, trained):.1f} M",
            "yes" if moved and moved <= trained else "NO",
            f"{result['pictures_per_second']:.1f}",
            str(dim),
            f"{spent_ms:.0f}",
        ]


def recipe_of(model: str, arguments: argparse.Namespace) -> Recipe:
    """The reference's recipe for one epoch of this backbone, with its own input size."""
    content = read_recipe(RECIPE)[0].as_json()
    content["name"] = f"{model}_custom"
    content["model"] |= {"model": model, "weights": arguments.weights}
    content["data"] |= {"subset": None, "label": arguments.label, "relevance": [arguments.label]}
    content["optim"] |= {"epochs": 1, "batch": 8}
    content["projection"] = {"components": [COMPONENTS], "whiten": [False], "raw": False}
    return Recipe.model_validate(content)


def measure_embedder(stored: StoredRelease, settings: Settings, catalog: Catalog) -> tuple[int, float]:
    """(number of components of a vector, shortest milliseconds) of requests to an embedder."""
    picture = catalog.picture_path(catalog.products[0]).read_bytes()
    with (
        embedder(stored, device=settings.trainer_device, precision=settings.trainer_precision) as (url, _),
        httpx.Client(base_url=url, timeout=300, trust_env=False) as client,
    ):
        spent_ms = []
        for _ in range(REQUESTS):
            began_s = time.perf_counter()
            answer = client.post("/v1/embed", params={"release": stored.release_id}, content=picture)
            answer.raise_for_status()
            spent_ms.append((time.perf_counter() - began_s) * 1000)
        return len(answer.json()["vector"]), min(spent_ms)


def count(tensors: dict[str, torch.Tensor], names: set[str]) -> float:
    """Millions of parameters in these tensors."""
    return sum(tensors[name].numel() for name in names) / 1e6


if __name__ == "__main__":
    sys.exit(main())
