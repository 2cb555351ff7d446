"""The order of training images, which depends on the seed and the epoch only: a resumed run continues it."""

from __future__ import annotations

import numpy as np

from trainer.data.dataset import UNKNOWN
from trainer.seeds import generator
from vitrine.recipes import SamplerRecipe
from vitrine.types import Codes, Rows


def epoch_batches(train: Rows, codes: Codes, recipe: SamplerRecipe, *, batch: int, seed: int, epoch: int) -> list[Rows]:
    """The batches of one epoch, each (batch,) rows of `train`. A smaller last batch is dropped if there are others.

    `codes` (N,) are the classes of the whole dataset. With P x K sampling each batch holds `per_class` images of
    `classes` classes, and all classes appear about equally often. Otherwise each image appears once, or, with
    `balance`, each class in proportion to its size to the power of 1 - balance.
    """
    random = generator(seed, epoch)
    if recipe.classes is not None and recipe.per_class is not None:
        return _class_batches(train, codes, recipe.classes, recipe.per_class, random)
    order = random.permutation(train) if recipe.balance == 0 else _balanced(train, codes, recipe.balance, random)
    count = max(1, len(order) // batch)
    return [order[number * batch : (number + 1) * batch] for number in range(count)]


def _balanced(train: Rows, codes: Codes, balance: float, random: np.random.Generator) -> Rows:
    known = train[codes[train] != UNKNOWN]
    counts = np.bincount(codes[known])
    weights = counts[codes[known]].astype(np.float64) ** -balance
    return random.choice(known, size=len(train), p=weights / weights.sum())


def _class_batches(train: Rows, codes: Codes, classes: int, per_class: int, random: np.random.Generator) -> list[Rows]:
    known = train[codes[train] != UNKNOWN]
    members = {int(code): known[codes[known] == code] for code in np.unique(codes[known])}
    names = np.array(sorted(members))
    per_batch = min(classes, len(names))
    count = max(1, len(train) // (per_batch * per_class))
    batches = []
    queue: list[int] = []
    for _ in range(count):
        if len(queue) < per_batch:
            queue += [int(code) for code in random.permutation(names)]
        # A class at the end of one permutation and the start of the next must not appear twice in a batch.
        drawn = list(dict.fromkeys(queue))[:per_batch]
        for code in drawn:
            queue.remove(code)
        batches.append(np.concatenate([_draw(members[code], per_class, random) for code in drawn]))
    return batches


def _draw(members: Rows, count: int, random: np.random.Generator) -> Rows:
    return random.choice(members, size=count, replace=len(members) < count)
