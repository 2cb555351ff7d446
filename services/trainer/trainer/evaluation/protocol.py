"""The queries and the gallery of an evaluation, with their labels, as an evaluation plan defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.dataset import NO_LINEAGE, UNKNOWN, Dataset, build_dataset, classes_of, combination
from trainer.data.splits import split_rule
from trainer.evaluation.features import Pictures
from trainer.seeds import EVALUATION_QUERIES, generator
from vitrine.catalogs import Catalog
from vitrine.errors import EvaluationImpossible, ParameterInvalid
from vitrine.evaluation.plan import EvaluationPlan, Gallery
from vitrine.products import Product
from vitrine.releases.lineage import Lineage
from vitrine.splits import SplitRule
from vitrine.types import Codes, Rows


@dataclass(frozen=True, slots=True)
class Labels:
    """Class codes of N products, UNKNOWN where the value is missing: `relevance` (N, A), `graded` (N, B) for nDCG,
    `within` (N, C) for the filter, and `kind` (N,), the class by which results are reported.
    """

    relevance: Codes
    graded: Codes
    within: Codes
    kind: Codes

    def at(self, rows: Rows) -> Labels:
        return Labels(self.relevance[rows], self.graded[rows], self.within[rows], self.kind[rows])


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The gallery and the queries of an evaluation.

    The queries are `query_rows` of the gallery or, if they are not part of it, `photographs`. `kinds` are the names of
    the classes in `Labels.kind`. `dataset` are the gallery's products with their parts, split by `split_rule`.
    """

    gallery: Pictures
    labels: Labels
    kinds: tuple[str, ...]
    dataset: Dataset
    query_rows: Rows
    split_rule: SplitRule
    photographs: Pictures | None = None
    photograph_labels: Labels | None = None

    @property
    def query_labels(self) -> Labels:
        return self.labels.at(self.query_rows) if self.photograph_labels is None else self.photograph_labels

    @property
    def query_pictures(self) -> Pictures:
        if self.photographs is not None:
            return self.photographs
        return Pictures(self.gallery.catalog, tuple(self.gallery.products[row] for row in self.query_rows))

    def searched_rows(self, gallery: Gallery, part: str) -> Rows:
        """The rows of the gallery that are searched."""
        if gallery == "all":
            return np.arange(len(self.dataset), dtype=np.int64)
        return self.dataset.rows("test" if part == "test" else "validation")


def build_evaluation_set(
    plan: EvaluationPlan, catalog: Catalog, photographs: Catalog | None = None, *, lineage: Lineage = NO_LINEAGE
) -> EvaluationSet:
    """Draw the queries from the plan's part of `catalog`, or from the `photographs` whose class the catalogue has.

    The catalogue is split as in `lineage`, unless the plan sets another seed. Raises ParameterInvalid if no product has
    an attribute that the plan needs, and EvaluationImpossible if there are no queries.
    """
    rule = split_rule(catalog.dataset, plan.data, seed=plan.drawn_by, lineage=lineage)
    if plan.seed not in (None, rule.seed):
        lineage, rule = NO_LINEAGE, split_rule(catalog.dataset, plan.data, seed=plan.drawn_by, lineage=NO_LINEAGE)
    dataset = build_dataset(catalog.products, plan.data, seed=plan.drawn_by, lineage=lineage)
    # An attribute of `graded` may be missing from a catalogue. One that decides relevance or the filter may not.
    for attribute in (*plan.data.relevance, *plan.within):
        check_known(attribute, dataset.values((attribute,)))
    encoder = _LabelEncoder(plan, dataset)
    labels, kinds = encoder.labels(dataset.products), encoder.names(plan.data.label)
    gallery = Pictures(catalog, dataset.products)
    if photographs is None:
        part = dataset.rows(plan.part)
        if not len(part):
            raise EvaluationImpossible(f"the {plan.part} part has no products: give a larger catalogue")
        return EvaluationSet(gallery, labels, kinds, dataset, _draw(part, labels.kind[part], plan), rule)
    usable = tuple(one for one in photographs.products if combination(one, (plan.data.label,)) in set(kinds))
    if not usable:
        raise EvaluationImpossible(
            f"no picture of {photographs.dataset!r} has a {plan.data.label!r} that the catalogue has: "
            "there are no queries"
        )
    chosen = _draw(np.arange(len(usable), dtype=np.int64), encoder.labels(usable).kind, plan)
    queries = tuple(usable[row] for row in chosen)
    no_rows = np.empty(0, dtype=np.int64)
    return EvaluationSet(
        gallery, labels, kinds, dataset, no_rows, rule, Pictures(photographs, queries), encoder.labels(queries)
    )


def check_known(attribute: str, values: Sequence[str | None]) -> None:
    """Raise ParameterInvalid if no product has the attribute."""
    if not any(value is not None for value in values):
        raise ParameterInvalid(f"no product has the attribute {attribute[:80]!r}")


def _draw(rows: Rows, kinds: Codes, plan: EvaluationPlan) -> Rows:
    """Draw queries from `rows`, within the plan's limits in all and of each class. Ascending."""
    order = generator(EVALUATION_QUERIES, plan.drawn_by).permutation(len(rows))
    if plan.queries_per_kind is not None:
        taken: dict[int, int] = {}
        kept = []
        for place in order:
            kind = int(kinds[place])
            taken[kind] = taken.get(kind, 0) + 1
            if taken[kind] <= plan.queries_per_kind:
                kept.append(place)
        order = np.array(kept, dtype=np.int64)
    drawn: Rows = np.sort(rows[order[: plan.queries]])
    return drawn


class _LabelEncoder:
    """Encodes attribute values with the codes of the gallery. A value that the gallery lacks is UNKNOWN."""

    def __init__(self, plan: EvaluationPlan, dataset: Dataset) -> None:
        self._plan = plan
        self._examples = dataset
        self._codes: dict[str, dict[str, int]] = {}

    def names(self, attribute: str) -> tuple[str, ...]:
        """The values of an attribute, in the order of their codes."""
        return tuple(self._codes_of(attribute))

    def labels(self, products: Sequence[Product]) -> Labels:
        plan = self._plan
        return Labels(
            self._encode(products, plan.data.relevance),
            self._encode(products, plan.graded),
            self._encode(products, plan.within),
            self._encode(products, (plan.data.label,))[:, 0],
        )

    def _encode(self, products: Sequence[Product], attributes: Sequence[str]) -> Codes:
        table = np.full((len(products), len(attributes)), UNKNOWN, dtype=np.int64)
        for column, attribute in enumerate(attributes):
            codes = self._codes_of(attribute)
            for row, product in enumerate(products):
                value = combination(product, (attribute,))
                table[row, column] = UNKNOWN if value is None else codes.get(value, UNKNOWN)
        return table

    def _codes_of(self, attribute: str) -> dict[str, int]:
        if attribute not in self._codes:
            names = classes_of(self._examples, (attribute,)).names
            self._codes[attribute] = {name: code for code, name in enumerate(names)}
        return self._codes[attribute]
