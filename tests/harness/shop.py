"""A system with one generated catalogue indexed, and the calls that tests of the search API make."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from harness.system import System, running_system
from vitrine.qdrant.naming import collection_name
from vitrine_local.bundled import install_bundled_releases
from vitrine_local.data_folder import DataFolder

DATASET = "drawn"
PRODUCTS = 150


@dataclass(frozen=True)
class Shop:
    """`root` is the catalogue's folder. `release` serves the dataset `drawn`."""

    system: System
    release: str
    root: Path

    @property
    def api(self) -> httpx.Client:
        return self.system.api

    @cached_property
    def rows(self) -> dict[str, dict[str, str]]:
        """The catalogue's rows by id."""
        with (self.root / "styles.csv").open(newline="") as file:
            return {row["id"]: row for row in csv.DictReader(file)}

    def picture(self, product_id: str) -> bytes:
        return (self.root / "images" / f"{product_id}.jpg").read_bytes()

    def search(self, product_id: str, fields: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """The answer to a search with the picture of a product."""
        form = {"dataset": DATASET, **(fields or {}), **options}
        answer = self.api.post("/api/search", files={"image": self.picture(product_id)}, data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.api.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def start_index(self, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Start an index job of this shop's release through the API. Returns the job."""
        model = self.release.rpartition("-")[0]
        wanted = {"dataset": DATASET, "reader": "synthetic", "root": str(self.root), "model": model}
        if not body.keys() & {"model", "release_id"}:
            wanted["release_id"] = self.release
        answer = self.api.post("/api/jobs/index", json={**wanted, **body}, headers=headers)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()["job"]
        assert answer.headers["location"] == f"/api/jobs/{job['id']}"
        return job


@contextlib.contextmanager
def running_shop(folder: Path, *, products: int = PRODUCTS, **env: str) -> Iterator[Shop]:
    """The whole system except the trainer. The catalogue is indexed through the API with a tiny random release."""
    with running_system(folder, "embedder", "indexer", "search_api", **env) as system:
        yield _indexed(system, system.release(), products)


@contextlib.contextmanager
def running_bundled_shop(folder: Path, *, products: int = PRODUCTS, **env: str) -> Iterator[Shop]:
    """The same with the bundled release, which has a classifier: results and confidences are real."""
    with running_system(folder, "embedder", "indexer", "search_api", **env) as system:
        yield _indexed(system, install_bundled_releases(DataFolder.at(folder)), products)


def _indexed(system: System, release: str, products: int) -> Shop:
    shop = Shop(system, release, system.catalog(count=products))
    system.succeeded(shop.start_index()["id"])
    return shop


def queries(shop: Shop, count: int = 5) -> list[str]:
    """The ids of some products, spread over the whole catalogue."""
    return list(shop.rows)[:: PRODUCTS // count]


class CollectionVectors:
    """The vectors of a collection, to search them with the functions of the evaluation."""

    def __init__(self, shop: Shop, release: str) -> None:
        name = collection_name(DATASET, release)
        points, _ = shop.system.store.scroll(name, limit=PRODUCTS, with_vectors=True)
        self.ids = [int((point.payload or {})["product_id"]) for point in points]
        self.vectors = np.array([point.vector for point in points], dtype=np.float32)

    def vector(self, product_id: str) -> np.ndarray:
        found: np.ndarray = self.vectors[[self.ids.index(int(product_id))]]
        return found

    def count_with_clear_gap(self, vector: np.ndarray, counts: range) -> int:
        """The count with the largest gap between the scores of its last result and the next product."""
        scores = np.sort((vector @ self.vectors.T)[0])[::-1]
        return max(counts, key=lambda count: float(scores[count - 1] - scores[count]))

    def check_ranking(self, found: list[int], scores: np.ndarray) -> None:
        """Each found product has the score of its rank, up to rounding."""
        by_id = dict(zip(self.ids, scores[0].tolist(), strict=True))
        best = np.sort(scores[0])[::-1][: len(found)]
        np.testing.assert_allclose([by_id[one] for one in found], best, atol=5e-4)
