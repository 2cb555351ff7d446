"""The `visualize` job: lay out a catalogue's embeddings on a plane and write the report of `trainer.reports.map`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from trainer.data.dataset import combination
from trainer.evaluation.features import FeatureCache, Pictures
from trainer.evaluation.protocol import build_evaluation_set, check_known
from trainer.jobs.job import Job
from trainer.reports.gallery import data_url
from trainer.reports.map import PAGE_FILE, Plane, write_maps
from trainer.seeds import VISUALIZED_PRODUCTS, generator
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation.expansion import augment_gallery
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs.params.evaluation import VisualizeParams
from vitrine.products import Product
from vitrine.releases import PROJECTION_FILE
from vitrine.types import Vectors
from vitrine.vision.pca import ProjectionArrays, project

Method = Literal["tsne", "umap"]

_MIN_PICTURES = 8
_PERPLEXITY = 30.0
_NEIGHBORS = 15
_THUMBNAIL_PX = 72


class VisualizeJob(Job[VisualizeParams]):
    Params = VisualizeParams

    def work(self) -> dict[str, Any]:
        params, progress = self.params, self.progress
        plan = EvaluationPlan(releases=(params.release_id,), data=params.data, seed=params.seed)
        progress.phase("reading the catalogue")
        catalog = self.read_catalog(params)
        every = build_evaluation_set(plan, catalog).gallery.products
        chosen = np.sort(generator(VISUALIZED_PRODUCTS, params.seed).permutation(len(every))[: params.count])
        pictures = Pictures(catalog, tuple(every[row] for row in chosen))
        cache = FeatureCache(self.releases, self.settings, self.device, progress)
        features, rows = cache.features(params.release_id, pictures)
        projection = ProjectionArrays.load(self.releases.local_folder(params.release_id) / PROJECTION_FILE)
        vectors = project(projection, np.asarray(features))
        if params.expand:
            vectors = augment_gallery(vectors, k=min(params.expand, len(vectors) - 1))
        products = [pictures.products[row] for row in rows]
        values = attribute_values(products, params.colour)
        planes: dict[str, Plane] = {}
        for method in params.methods:
            progress.phase(f"laying out by {method}")
            planes[method] = lay_out(vectors, method, seed=params.seed)
        progress.phase("writing the maps")
        folder = self.settings.reports_dir / progress.job_id
        expanded = f", each with its {params.expand} nearest" if params.expand else ""
        write_maps(
            folder,
            products,
            planes,
            values=values,
            color_by=params.colour,
            dataset=catalog.dataset,
            seed=params.seed,
            title=f"{params.release_id}: {len(rows):,} products by {params.colour}{expanded}",
            thumbnail=lambda product: data_url(catalog, product, side_px=_THUMBNAIL_PX),
        )
        return {"report": str(folder / PAGE_FILE), "pictures": len(rows), "methods": params.methods}


def attribute_values(products: Sequence[Product], attribute: str) -> list[str | None]:
    """The products' values of an attribute. Raises ParameterInvalid if no product has it."""
    values = [combination(product, (attribute,)) for product in products]
    check_known(attribute, values)
    return values


def lay_out(vectors: Vectors, method: Method, *, seed: int) -> Plane:
    """A layout (N, 2) in [0, 1] of (N, D) unit vectors by cosine distance: t-SNE (van der Maaten and Hinton,
    "Visualizing Data using t-SNE", JMLR 2008) or UMAP (McInnes, Healy and Melville, 2018).

    Raises EvaluationImpossible for fewer than eight vectors.
    """
    if len(vectors) < _MIN_PICTURES:
        raise EvaluationImpossible(f"a map needs {_MIN_PICTURES} pictures or more; there are {len(vectors)}")
    # Both libraries take seconds to import.
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
        plane = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed).fit_transform(vectors)
    else:
        from umap import UMAP

        neighbors = min(_NEIGHBORS, len(vectors) - 1)
        # With several threads the layout differs from run to run.
        reducer = UMAP(metric="cosine", n_neighbors=neighbors, init="random", random_state=seed, n_jobs=1)
        plane = reducer.fit_transform(vectors)
    low, high = plane.min(axis=0), plane.max(axis=0)
    scaled: Plane = (plane - low) / np.maximum(high - low, 1e-9)
    return scaled
