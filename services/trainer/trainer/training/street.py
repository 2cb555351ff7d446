"""The second domain of a training: street garments in batches beside the catalogue's products.

A street garment has a set of classes that it may have. Its classification loss is that of partial labels, the negative
logarithm of the probability of the whole set (Jin and Ghahramani, "Learning with Multiple Labels", NIPS 2002). For
losses on pairs, two images match if they may have the same class (Khosla et al., "Supervised Contrastive Learning",
NeurIPS 2020, across domains).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch

from trainer.augmentation.street import plain_view, random_view
from trainer.data.dataset import UNKNOWN, TrainingData
from trainer.data.loader import Batch
from trainer.data.street import StreetGarment
from trainer.seeds import STREET_BATCHES, STREET_VIEWS, generator
from vitrine.atomic_write import atomic_open
from vitrine.recipes import StreetRecipe
from vitrine.types import Codes, Flags, Pixels, Rows, Values, Vectors

_VIEWS_VERSION: Final = 1  # part of the cache key: raise it when views are drawn differently


@dataclass(frozen=True, slots=True)
class StreetDomain:
    """S garments by their `labels`. `allowed` (S, classes) are the classes that each may have, `colors` (S,) codes.

    `views` (views * S, H, W, 3) uint8: view v of garment s is row v * S + s. `teacher` (S, D) are the embeddings to
    distill.
    """

    labels: tuple[str, ...]
    allowed: Flags
    colors: Codes
    views: Pixels
    teacher: Vectors | None = None


class Loader(Protocol):
    """What gives batches of pixels, or of maps."""

    def epoch(self, batches: list[Rows], epoch: int, *, first: int = 0) -> Generator[Batch, None, None]: ...


def cached_views(
    garments: list[StreetGarment],
    recipe: StreetRecipe,
    *,
    height_px: int,
    width_px: int,
    seed: int,
    folder: Path,
    step: Callable[[int, int], None],
) -> Pixels:
    """The views (views * S, height_px, width_px, 3) uint8 of the garments, memory-mapped from a file in `folder`.

    `step` is called with the views drawn and their number, and may raise to stop; nothing is kept then.
    """
    digest = hashlib.sha256(f"{_VIEWS_VERSION} {recipe.model_dump_json()} {height_px} {width_px} {seed}".encode())
    for garment in garments:
        digest.update(garment.pixels.tobytes() + garment.mask.tobytes())
    data = folder / f"{digest.hexdigest()[:24]}.pixels"
    count = recipe.views * len(garments)
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_open(data) as file:
            for number in range(count):
                view, at = divmod(number, len(garments))
                random = generator(STREET_VIEWS, seed, view, at)
                garment, size = garments[at], {"height_px": height_px, "width_px": width_px}
                file.write(random_view(garment.pixels, garment.mask, recipe, random, **size).tobytes())
                if number % len(garments) == 0:
                    step(number, count)
    return np.memmap(data, dtype=np.uint8, mode="r", shape=(count, height_px, width_px, 3))


def plain_views(garments: list[StreetGarment], *, height_px: int, width_px: int) -> Pixels:
    """(S, height_px, width_px, 3) uint8: each garment cut out as it is, for a teacher."""
    return np.stack(
        [plain_view(one.pixels, one.mask, cut=True, height_px=height_px, width_px=width_px) for one in garments]
    )


class StreetBatches:
    """Street garments for each batch of the catalogue, and the products that go with them."""

    def __init__(
        self, loader: Loader, domain: StreetDomain, recipe: StreetRecipe, data: TrainingData, *, batch: int, seed: int
    ) -> None:
        self._loader = loader
        self.domain = domain
        self._recipe = recipe
        self._count = max(1, round(recipe.share * batch))
        self._seed = seed
        sizes = Counter(domain.labels)
        weights = np.array([sizes[label] ** -recipe.balance for label in domain.labels], dtype=np.float64)
        self._weights: Values = weights / weights.sum()
        codes = data.codes[data.train, 0]
        self._products = {int(code): data.train[codes == code] for code in np.unique(codes) if code != UNKNOWN}
        self._colors = data.colors

    def rows(self, batches: int, epoch: int) -> list[Rows]:
        """The rows of views for each batch of an epoch."""
        random = generator(STREET_BATCHES, self._seed, epoch)
        garments, per_view = len(self.domain.labels), self._count
        replace = per_view > garments
        chosen = [random.choice(garments, per_view, replace=replace, p=self._weights) for _ in range(batches)]
        return [rows + garments * random.integers(self._recipe.views, size=per_view) for rows in chosen]

    def garments(self, rows: Rows) -> Rows:
        """The garments of views."""
        return rows % len(self.domain.labels)

    def paired(self, batches: list[Rows], epoch: int) -> list[Rows]:
        """The catalogue's batches of an epoch, each with its last rows replaced by products that the first street
        garments of the same batch may be.
        """
        random = generator(STREET_BATCHES, self._seed, epoch, 1)
        count = round(self._recipe.paired * self._count)
        street = self.rows(len(batches), epoch)
        pairs = []
        for rows, beside in zip(batches, street, strict=True):
            kept = max(0, len(rows) - min(count, len(rows) // 2))
            partners = [self._partner(garment, random) for garment in self.garments(beside)[: len(rows) - kept]]
            pairs.append(np.concatenate([rows[:kept], np.array(partners, dtype=np.int64)]))
        return pairs

    def epoch(self, batches: list[Rows], epoch: int, *, first: int) -> Generator[Batch, None, None]:
        """The batches of views from number `first` on."""
        yield from self._loader.epoch(batches, epoch, first=first)

    def _partner(self, garment: int, random: np.random.Generator) -> int:
        """The row of a product of a class that the garment may have, in its color if there is one."""
        classes = [code for code in np.flatnonzero(self.domain.allowed[garment]).tolist() if code in self._products]
        products = self._products[int(random.choice(classes))]
        color = self.domain.colors[garment]
        if self._colors is not None and color != UNKNOWN:
            same = products[self._colors[products] == color]
            products = same if len(same) else products
        return int(random.choice(products))


def partial_label_loss(scores: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """The mean of -log(sum of the allowed classes' probabilities). `scores` and `allowed` (bool) are (S, classes)."""
    inside = scores.masked_fill(~allowed, -torch.inf)
    return (torch.logsumexp(scores, dim=1) - torch.logsumexp(inside, dim=1)).mean()


def matching_pairs(
    codes: torch.Tensor, allowed: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The pairs of a batch as pytorch-metric-learning takes them: anchors and positives, anchors and negatives.

    `codes` (N,) are the classes of the catalogue's images, UNKNOWN for none and for street garments; `allowed`
    (S, classes) are the sets of the last S images. Two images match if they may have the same class, but two street
    garments only if their sets are the same. An image without a class is in no pair.
    """
    catalogue = len(codes) - len(allowed)
    sets = torch.zeros((len(codes), allowed.shape[1]), device=codes.device)
    known = torch.nonzero(codes[:catalogue] != UNKNOWN).squeeze(1)
    sets[known, codes[known]] = 1.0
    sets[catalogue:] = allowed.float()
    common = sets @ sets.T
    match = common > 0
    sizes = sets.sum(dim=1)
    both_street = match[catalogue:, catalogue:]
    same = (common == sizes[:, None]) & (common == sizes[None])
    both_street &= same[catalogue:, catalogue:]
    usable = (sizes > 0)[:, None] & (sizes > 0)[None]
    differ = (common == 0) & usable
    match = match & usable & ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    anchors, positives = torch.nonzero(match, as_tuple=True)
    others, negatives = torch.nonzero(differ, as_tuple=True)
    return anchors, positives, others, negatives
