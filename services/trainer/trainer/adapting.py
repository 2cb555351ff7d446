"""The `adapt` job: a release's batch normalisation learns what another catalogue's pictures look like. No weight moves,
no label is needed: the network sees the pictures once, and the means and deviations of its layers become theirs, or a
mixture of the two (Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016; the mixture is
that of Schneider et al., NeurIPS 2020). The projection is fitted anew, since the features have moved.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.admission import admitted_batch
from trainer.control import JobControl
from trainer.data.extraction import decoded_pictures, raw_features
from trainer.reading import read_allowed_catalog
from trainer.sample import fitting_sample
from trainer.seeds import generator
from trainer.settings import Settings
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.jobs import JobRecord
from vitrine.jobs.params.releases import AdaptParams
from vitrine.releases import CLASSIFIER_FILE, WEIGHTS_FILE, Preprocessing, ReleaseStore
from vitrine.releases.ancestry import parent_lineage
from vitrine.vision.backbones import Loaded, restore_backbone
from vitrine.vision.network import DeviceChoice, choose_device
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Normalise
from vitrine.vision.release_builder import Training, fitted_on, make_release

_BATCH: Final = 64


class AdaptJob:
    """One run of one job. It is short enough to begin anew after a kill; only decoded pictures are kept."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = AdaptParams.of(record)
        self._settings = settings
        self._control = control
        self._store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params, control = self._params, self._control
        started_s = time.monotonic()
        control.phase("reading the catalogues")
        target = read_allowed_catalog(params.target or params, self._settings, control)
        catalog = read_allowed_catalog(params, self._settings, control)
        control.phase("loading the release")
        manifest = self._store.manifest(params.release_id)
        folder = self._store.local_folder(params.release_id)
        choice = choose_device(self._settings.trainer_device, self._settings.trainer_precision)
        rules = manifest.preprocessing
        components = params.components or manifest.dim
        sample = fitting_sample(
            catalog.products,
            params.data,
            lineage=parent_lineage(self._store, params.release_id),
            seed=params.seed,
            sample_max=params.sample_max,
            components=components,
        )
        batch = admitted_batch(
            manifest.architecture,
            rules,
            self._settings,
            choice,
            wanted=_BATCH,
            at_once=1,
            features=len(sample.products),
        )
        backbone = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        # Of the catalogue itself the train part alone is shown; another catalogue's pictures are in no part of it.
        shown = sample.products if target.dataset == catalog.dataset else list(target.products[: params.sample_max])
        seen = decoded_pictures(target, shown, rules, self._settings, control)
        pixels = seen.pixels
        if len(pixels) < 2:
            raise TrainingImpossible("the catalogue to adapt to has fewer than two pictures that can be read")
        control.phase("adapting")
        layers = adapt(backbone, rules, pixels, share=params.share, choice=choice, step=control.check, batch=batch)
        control.phase("fitting the projection")
        whiten = manifest.projection.whiten if params.whiten is None else params.whiten
        cache = decoded_pictures(catalog, sample.products, rules, self._settings, control)
        features = raw_features(backbone, rules, cache.pixels, choice, self._settings)
        fit = fit_projection(features, components=components, whiten=whiten, seed=params.seed)
        control.check()
        fitted = [sample.products[row].id for row in cache.rows]
        release_id = make_release(
            self._store,
            params.name,
            Loaded(backbone, manifest.architecture, f"release:{params.release_id}", manifest.weights.sha256),
            fit,
            rules=rules,
            trained_on=fitted_on(
                catalog.dataset, fitted, part="train", seed=sample.lineage.rules[catalog.dataset].seed
            ),
            whiten=whiten,
            random_state=params.seed,
            lineage=sample.lineage.with_products(catalog.dataset, fitted=fitted).with_products(
                target.dataset, fitted=[shown[row].id for row in seen.rows]
            ),
            training=Training(
                recipe={
                    "kind": "adapt",
                    "target": target.dataset,
                    "pictures": len(pixels),
                    "share": params.share,
                    "trained_by": manifest.recipe,
                },
                labels=manifest.labels or (),
                metrics={},
                parent=params.release_id,
                # Its classes are the same, and its features only moved.
                classifier=folder / CLASSIFIER_FILE if manifest.classifier_sha256 is not None else None,
                folder=None,
            ),
        )
        return {
            "release_id": release_id,
            "model": params.name,
            "dim": components,
            "adapted_layers": layers,
            "adapted_on": len(pixels),
            "fitted_on": len(cache.rows),
            "seconds": round(time.monotonic() - started_s, 1),
        }


def adapt(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: np.ndarray[Any, np.dtype[np.uint8]],
    *,
    share: float,
    choice: DeviceChoice,
    step: Any,
    batch: int = _BATCH,
) -> int:
    """Move the statistics of every batch normalisation of `backbone`, in place, by `share` towards those of `pixels`
    (N, H, W, 3) uint8: 1 makes them the pictures' own, 0 leaves them. Parameters stay, bit for bit. Returns how many
    layers there are. Raises ParameterInvalid where there is none.
    """
    layers = [module for module in backbone.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers:
        raise ParameterInvalid("the network has no batch normalisation that could be adapted")
    before = [(_copy(layer.running_mean), _copy(layer.running_var)) for layer in layers]
    momenta = [layer.momentum for layer in layers]
    counts = [_copy(layer.num_batches_tracked) for layer in layers]
    backbone.eval().to(choice.device)
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    normalise = Normalise(rules).to(choice.device)
    order = generator(0, len(pixels)).permutation(len(pixels))
    with torch.inference_mode(), torch.autocast(choice.device.type, choice.dtype, enabled=choice.dtype.itemsize == 2):
        # A last batch of one picture has no deviation, so the few that are over are left out.
        for start in range(0, max(1, len(order) - batch + 1), batch):
            step()
            rows = np.sort(order[start : start + batch])
            backbone(normalise(torch.from_numpy(np.ascontiguousarray(pixels[rows])).to(choice.device)))
    backbone.eval().cpu()
    with torch.no_grad():
        for layer, (mean, variance), momentum, count in zip(layers, before, momenta, counts, strict=True):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.lerp_(mean.to(layer.running_mean), 1.0 - share)
            layer.running_var.lerp_(variance.to(layer.running_var), 1.0 - share)
            layer.momentum, layer.num_batches_tracked = momentum, count
    return len(layers)


def _copy(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor.detach().clone()
