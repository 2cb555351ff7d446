"""The `adapt` job: move the batch normalization of a release to another catalogue's pictures. No weight is trained and
no label is needed.

The means and variances of the layers become those of the pictures (Li et al., "Revisiting Batch Normalization For
Practical Domain Adaptation", 2016) or a mixture of both (Schneider et al., "Improving robustness against common
corruptions by covariate shift adaptation", NeurIPS 2020). This moves the features, so the projection is fitted again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.data.extraction import decoded_pictures, raw_features
from trainer.data.splits import fitting_sample
from trainer.jobs.job import Job
from trainer.memory import admitted_batch
from trainer.seeds import generator
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.jobs.params.releases import AdaptParams
from vitrine.releases import CLASSIFIER_FILE, WEIGHTS_FILE, Preprocessing
from vitrine.releases.ancestry import parent_lineage
from vitrine.vision.backbones import Loaded, restore_backbone
from vitrine.vision.network import DeviceChoice
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Normalise
from vitrine.vision.release_builder import Training, fitted_on, make_release

_BATCH: Final = 64


class AdaptJob(Job[AdaptParams]):
    Params = AdaptParams

    def work(self) -> dict[str, Any]:
        params, progress, settings = self.params, self.progress, self.settings
        progress.phase("reading the catalogues")
        target = self.read_catalog(params.target or params)
        catalog = self.read_catalog(params)
        progress.phase("loading the release")
        manifest = self.releases.manifest(params.release_id)
        folder = self.releases.local_folder(params.release_id)
        rules = manifest.preprocessing
        components = params.components or manifest.dim
        sample = fitting_sample(
            catalog.products,
            params.data,
            lineage=parent_lineage(self.releases, params.release_id),
            seed=params.seed,
            sample_max=params.sample_max,
            components=components,
        )
        batch = admitted_batch(
            manifest.architecture,
            rules,
            settings,
            self.device,
            wanted=_BATCH,
            at_once=1,
            features=len(sample.products),
        )
        backbone = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        # Of the catalogue itself only the train part is used. The pictures of another catalogue have no parts.
        shown = sample.products if target.dataset == catalog.dataset else list(target.products[: params.sample_max])
        target_cache = decoded_pictures(target, shown, rules, settings, progress)
        pixels = target_cache.pixels
        if len(pixels) < 2:
            raise TrainingImpossible("the catalogue to adapt to has fewer than two pictures that can be read")
        progress.phase("adapting")
        layers = adapt(
            backbone, rules, pixels, share=params.share, device=self.device, step=progress.check, batch=batch
        )
        progress.phase("fitting the projection")
        whiten = manifest.projection.whiten if params.whiten is None else params.whiten
        cache = decoded_pictures(catalog, sample.products, rules, settings, progress)
        features = raw_features(backbone, rules, cache.pixels, self.device, settings)
        fit = fit_projection(features, components=components, whiten=whiten, seed=params.seed)
        progress.check()
        fitted = [sample.products[row].id for row in cache.rows]
        seed = sample.lineage.rules[catalog.dataset].seed
        release_id = make_release(
            self.releases,
            params.name,
            Loaded(backbone, manifest.architecture, f"release:{params.release_id}", manifest.weights.sha256),
            fit,
            rules=rules,
            trained_on=fitted_on(catalog.dataset, fitted, part="train", seed=seed),
            whiten=whiten,
            random_state=params.seed,
            lineage=sample.lineage.with_products(catalog.dataset, fitted=fitted).with_products(
                target.dataset, fitted=[shown[row].id for row in target_cache.rows]
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
                # The classes are the same and the features have only moved.
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
        }


def adapt(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: np.ndarray[Any, np.dtype[np.uint8]],
    *,
    share: float,
    device: DeviceChoice,
    step: Callable[[], None],
    batch: int = _BATCH,
) -> int:
    """Move the statistics of every batch normalization of `backbone`, in place, by `share` towards those of `pixels`
    (N, H, W, 3) uint8. Parameters do not change. Returns the number of layers.

    `step` is called between batches and may raise to stop. Raises ParameterInvalid if there is no such layer.
    """
    layers = [module for module in backbone.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers:
        raise ParameterInvalid("the network has no batch normalisation that could be adapted")
    before = [(_copy(layer.running_mean), _copy(layer.running_var)) for layer in layers]
    momenta = [layer.momentum for layer in layers]
    counts = [_copy(layer.num_batches_tracked) for layer in layers]
    backbone.eval().to(device.device)
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    normalise = Normalise(rules).to(device.device)
    order = generator(0, len(pixels)).permutation(len(pixels))
    with torch.inference_mode(), torch.autocast(device.device.type, device.dtype, enabled=device.dtype.itemsize == 2):
        # An incomplete last batch is left out: a batch of one picture has no variance.
        for start in range(0, max(1, len(order) - batch + 1), batch):
            step()
            rows = np.sort(order[start : start + batch])
            backbone(normalise(torch.from_numpy(np.ascontiguousarray(pixels[rows])).to(device.device)))
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
