"""Which pictures an epoch shows, and in what order: a function of the seed and the epoch, so that a run that is taken
up again sees what it would have seen.
"""

from __future__ import annotations

import numpy as np

from trainer.data.dataset import UNKNOWN, Codes, Rows
from trainer.seeds import generator
from vitrine.recipes import SamplerRecipe


def epoch_batches(train: Rows, codes: Codes, recipe: SamplerRecipe, *, batch: int, seed: int, epoch: int) -> list[Rows]:
    """The batches of one epoch, each (batch,) rows of `train`; the last, if smaller, is left out unless it is the only.

    `codes` are the classes of all examples. With P x K each batch holds `per_class` pictures of `classes` classes, the
    classes drawn in turn so that all come about equally often; else every picture comes once, or, balanced, each class
    in proportion to its size to the power of 1 - balance.
    """
    chance = generator(seed, epoch)
    if recipe.classes is not None and recipe.per_class is not None:
        return _by_class(train, codes, recipe.classes, recipe.per_class, chance)
    order = chance.permutation(train) if recipe.balance == 0 else _balanced(train, codes, recipe.balance, chance)
    count = max(1, len(order) // batch)
    return [order[number * batch : (number + 1) * batch] for number in range(count)]


def _balanced(train: Rows, codes: Codes, balance: float, chance: np.random.Generator) -> Rows:
    known = train[codes[train] != UNKNOWN]
    counts = np.bincount(codes[known])
    weights = counts[codes[known]].astype(np.float64) ** -balance
    return chance.choice(known, size=len(train), p=weights / weights.sum())


def _by_class(train: Rows, codes: Codes, classes: int, per_class: int, chance: np.random.Generator) -> list[Rows]:
    known = train[codes[train] != UNKNOWN]
    members = {int(code): known[codes[known] == code] for code in np.unique(codes[known])}
    names = np.array(sorted(members))
    at_once = min(classes, len(names))
    count = max(1, len(train) // (at_once * per_class))
    batches = []
    queue: list[int] = []
    for _ in range(count):
        if len(queue) < at_once:
            queue += [int(code) for code in chance.permutation(names)]
        # A class that is at the end of one turn and the start of the next comes once in a batch.
        drawn = list(dict.fromkeys(queue))[:at_once]
        for code in drawn:
            queue.remove(code)
        batches.append(np.concatenate([_some(members[code], per_class, chance) for code in drawn]))
    return batches


def _some(members: Rows, count: int, chance: np.random.Generator) -> Rows:
    return chance.choice(members, size=count, replace=len(members) < count)
