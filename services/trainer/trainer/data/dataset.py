"""The dataset of a training run: labelled products, their split, and the classes that their attributes form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.data.splits import split_products, split_rule
from vitrine.catalogs.registry import select
from vitrine.errors import TrainingImpossible
from vitrine.products import Product
from vitrine.recipes import DataRecipe
from vitrine.releases.lineage import Lineage
from vitrine.splits import Part
from vitrine.types import Codes, Rows, Vectors

UNKNOWN: Final = -1
NO_LINEAGE: Final = Lineage()
_SEPARATOR: Final = "|"
_MOST_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Dataset:
    """Products in the order of the catalogue, and the part of each."""

    products: tuple[Product, ...]
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.products)

    @property
    def part_of(self) -> dict[str, Part]:
        """The part of each product by its id."""
        return {product.id: part for product, part in zip(self.products, self.parts, strict=True)}

    def ids(self, *parts: Part) -> list[str]:
        return [product.id for product, part in zip(self.products, self.parts, strict=True) if part in parts]

    def rows(self, *parts: Part) -> Rows:
        """The row numbers of the products in these parts, ascending."""
        return np.array([row for row, part in enumerate(self.parts) if part in parts], dtype=np.int64)

    def values(self, attributes: Sequence[str]) -> list[str | None]:
        """The `combination` of these attributes for each product."""
        return [combination(product, attributes) for product in self.products]

    def keep(self, rows: Rows) -> Dataset:
        """Only the products at `rows`."""
        return Dataset(tuple(self.products[row] for row in rows), tuple(self.parts[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one attribute or combination: `names` by code, and the `codes` (N,) of the dataset.

    A code is -1 if the value is unknown or not one of the classes.
    """

    names: tuple[str, ...]
    codes: Codes


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the training loop needs of a dataset of N products.

    `codes` (N, columns) are the classes that the losses use, the label's in column 0. `relevance` (N, A) are the
    classes that decide whether a result is relevant. `train` and `validation` are rows. `teacher` (N, D) are the
    embeddings to distill. `colors` (N,) are color codes, if the catalogue has colors.
    """

    codes: Codes
    relevance: Codes
    train: Rows
    validation: Rows
    teacher: Vectors | None = None
    colors: Codes | None = None


def combination(product: Product, attributes: Sequence[str]) -> str | None:
    """The values of the attributes joined by `|`, or None if one is unknown."""
    values = [product.attributes.get(name) for name in attributes]
    return None if None in values else _SEPARATOR.join(map(str, values))


def build_dataset(
    products: Sequence[Product], recipe: DataRecipe, *, seed: int, lineage: Lineage = NO_LINEAGE
) -> Dataset:
    """The products that a recipe selects, with their split. Products of the lineage keep their part.

    Raises ParameterInvalid if the subset or an attribute is unknown, TrainingImpossible if no product has the label.
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
            f"no value of the attribute {recipe.label!r} has {recipe.least_pictures} pictures or more: "
            "set data.label to an attribute of the catalogue"
        )
    parts = split_products(chosen, split_rule(chosen[0].dataset, recipe, seed=seed, lineage=lineage), lineage)
    kept = tuple(product for product in chosen if product.id in parts)
    return Dataset(kept, tuple(parts[product.id] for product in kept))


def classes_of(
    dataset: Dataset, attributes: Sequence[str], *, known: Sequence[str] = (), rows: Rows | None = None
) -> Classes:
    """The classes that `attributes` form.

    The names of `known`, the label map of a release, keep their codes; new names follow in alphabetical order. With
    `rows`, values that appear only outside of `rows` are not classes.
    """
    values = dataset.values(attributes)
    included = values if rows is None else [values[row] for row in rows]
    new = sorted({value for value in included if value is not None} - set(known))
    names = (*known, *new)
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([UNKNOWN if value is None else code_of.get(value, UNKNOWN) for value in values], dtype=np.int64)
    return Classes(names, codes)


def check_trainable(label: Classes, train: Rows, validation: Rows) -> None:
    """Raise TrainingImpossible if these parts cannot be trained or validated on."""
    if len(train) == 0:
        raise TrainingImpossible("the train part has no pictures: see the job's faults, or use a larger catalogue")
    if len(validation) == 0:
        raise TrainingImpossible("the validation part has no pictures: use a larger catalogue")
    trained = set(label.codes[train].tolist()) - {UNKNOWN}
    if len(trained) < 2:
        only = label.names[next(iter(trained))] if trained else "none"
        raise TrainingImpossible(f"the train part has one class only ({only}): training needs two or more")
    empty = sorted(set(label.codes.tolist()) - {UNKNOWN} - trained)
    if empty:
        listed = ", ".join(label.names[code] for code in empty[:_MOST_LISTED])
        raise TrainingImpossible(
            f"{len(empty)} of the classes have no picture in the train part ({listed}): raise data.least_pictures"
        )
