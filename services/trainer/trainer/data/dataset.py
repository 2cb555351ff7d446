"""What is trained on: the products of a catalogue that have what a recipe asks for, the part each is in, and the
classes that its attributes make. Classes come from the train part, in the order of a release's label map where there is
one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.data.splits import split_products, split_rule
from vitrine.catalogs.registry import select
from vitrine.errors import TrainingImpossible
from vitrine.products import Product
from vitrine.recipes import DataRecipe
from vitrine.releases.lineage import Lineage
from vitrine.splits import Part
from vitrine.types import Vectors

Codes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
UNKNOWN: Final = -1
NO_LINEAGE: Final = Lineage()
_JOINED: Final = "|"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Dataset:
    """Products in the catalogue's order, and each one's part."""

    products: tuple[Product, ...]
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.products)

    @property
    def part_of(self) -> dict[str, Part]:
        """Each product's part by its id."""
        return {product.id: part for product, part in zip(self.products, self.parts, strict=True)}

    def ids(self, *parts: Part) -> list[str]:
        """The ids of the products in these parts."""
        return [product.id for product, part in zip(self.products, self.parts, strict=True) if part in parts]

    def rows(self, *parts: Part) -> Rows:
        """The positions of the products in these parts, ascending."""
        return np.array([row for row, part in enumerate(self.parts) if part in parts], dtype=np.int64)

    def values(self, attributes: Sequence[str]) -> list[str | None]:
        """Each product's combination of these attributes, None where one is unknown."""
        return [combination(product, attributes) for product in self.products]

    def keep(self, rows: Rows) -> Dataset:
        """Only these products."""
        return Dataset(tuple(self.products[row] for row in rows), tuple(self.parts[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Classes:
    """The values of one attribute or combination: `names` by code, and `codes` (N,) int64 of the examples, -1 where the
    value is unknown or no class.
    """

    names: tuple[str, ...]
    codes: Codes


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is trained and judged on. `codes` (N, columns) are the classes of the terms, the label's first; `relevance`
    (N, A) those of retrieval; `teacher` (N, D), if any, the embeddings to be learned.
    """

    codes: Codes
    relevance: Codes
    train: Rows
    validation: Rows
    teacher: Vectors | None = None


def combination(product: Product, attributes: Sequence[str]) -> str | None:
    """The attributes' values joined by `|`, or None where one is unknown."""
    values = [product.attributes.get(name) for name in attributes]
    return None if None in values else _JOINED.join(map(str, values))


def build_dataset(
    products: Sequence[Product], recipe: DataRecipe, *, seed: int, lineage: Lineage = NO_LINEAGE
) -> Dataset:
    """The products a recipe means, with their parts: those that the lineage knows, and others by the seed and the
    products alone.

    Raises ParameterInvalid for an unknown subset or an attribute no product has, and TrainingImpossible where nothing
    is left to train or validate on.
    """
    chosen = list(products) if recipe.subset is None else list(select(products, recipe.subset))
    counts = Counter(product.attributes.get(recipe.label) for product in chosen)
    chosen = [
        product
        for product in chosen
        if (value := product.attributes.get(recipe.label)) is not None and counts[value] >= recipe.least_pictures
    ]
    if not chosen:
        raise TrainingImpossible(
            f"no product has the attribute {recipe.label!r} with {recipe.least_pictures} pictures of its value: "
            "set data.label to an attribute of the catalogue"
        )
    parts = split_products(chosen, split_rule(chosen[0].dataset, recipe, seed=seed, lineage=lineage), lineage)
    kept = tuple(product for product in chosen if product.id in parts)
    return Dataset(kept, tuple(parts[product.id] for product in kept))


def classes_of(
    examples: Dataset, attributes: Sequence[str], *, known: Sequence[str] = (), rows: Rows | None = None
) -> Classes:
    """The classes that `attributes` make among the examples, or those at `rows`: those of `known`, a label map, keep
    their numbers, and those it lacks follow in alphabetical order. A value beyond `rows` is no class.
    """
    values = examples.values(attributes)
    among = values if rows is None else [values[row] for row in rows]
    new = sorted({value for value in among if value is not None} - set(known))
    names = (*known, *new)
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([UNKNOWN if value is None else code_of.get(value, UNKNOWN) for value in values], dtype=np.int64)
    return Classes(names, codes)


def check_trainable(label: Classes, train: Rows, validation: Rows) -> None:
    """Raise TrainingImpossible where a run on these parts could not end well, saying why."""
    if len(train) == 0:
        raise TrainingImpossible("the train part has no pictures: see the job's faults, or give a larger catalogue")
    if len(validation) == 0:
        raise TrainingImpossible("the validation part has no pictures, so no epoch could be judged")
    trained = set(label.codes[train].tolist()) - {UNKNOWN}
    if len(trained) < 2:
        only = label.names[next(iter(trained))] if trained else "none"
        raise TrainingImpossible(f"the train part has one class only ({only}): there is nothing to tell apart")
    empty = sorted(set(label.codes.tolist()) - {UNKNOWN} - trained)
    if empty:
        told = ", ".join(label.names[code] for code in empty[:_SHOWN])
        raise TrainingImpossible(
            f"{len(empty)} of the classes have no picture in the train part ({told}): raise data.least_pictures"
        )
