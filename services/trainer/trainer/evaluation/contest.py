"""What is asked and what is searched: the queries and the gallery of one evaluation, their labels, and which gallery
row each query is itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.dataset import NO_LINEAGE, UNKNOWN, Codes, Dataset, build_dataset, classes_of, combination
from trainer.data.splits import split_rule
from trainer.evaluation.features import Pictures
from trainer.seeds import EVALUATION_QUERIES, generator
from vitrine.catalogs import Catalog
from vitrine.errors import EvaluationImpossible, ParameterInvalid
from vitrine.evaluation import Rows
from vitrine.evaluation.plan import EvaluationPlan, Gallery
from vitrine.products import Product
from vitrine.releases.lineage import Lineage
from vitrine.splits import SplitRule


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of N products as numbers, UNKNOWN where there is none: `relevance` (N, A), `graded` (N, B), `within`
    (N, C), and `kind` (N,), the classes that results are told by.
    """

    relevance: Codes
    graded: Codes
    within: Codes
    kind: Codes

    def at(self, rows: Rows) -> Labels:
        return Labels(self.relevance[rows], self.graded[rows], self.within[rows], self.kind[rows])


@dataclass(frozen=True, slots=True)
class Contest:
    """The gallery's pictures and labels, and the queries: rows of the gallery, or pictures of their own. `rule` is what
    the gallery was split by.
    """

    gallery: Pictures
    labels: Labels
    kinds: tuple[str, ...]
    parts: Dataset
    asked: Rows
    rule: SplitRule
    outside: Pictures | None = None
    outside_labels: Labels | None = None

    @property
    def query_labels(self) -> Labels:
        return self.labels.at(self.asked) if self.outside_labels is None else self.outside_labels

    def rows_of(self, gallery: Gallery, part: str) -> Rows:
        """The gallery's products that are searched."""
        if gallery == "all":
            return np.arange(len(self.parts), dtype=np.int64)
        return self.parts.rows("test" if part == "test" else "validation")


def make_contest(
    plan: EvaluationPlan, catalog: Catalog, photographs: Catalog | None = None, *, lineage: Lineage = NO_LINEAGE
) -> Contest:
    """The contest of a plan on a catalogue, its queries drawn from the plan's part, or all of `photographs` whose kind
    the catalogue has. The catalogue is split as the `lineage` of a release has it, if the plan asks for no other seed.

    Raises ParameterInvalid, and EvaluationImpossible where there is nothing to ask or to search.
    """
    rule = split_rule(catalog.dataset, plan.data, seed=plan.drawn_by, lineage=lineage)
    if plan.seed not in (None, rule.seed):
        lineage, rule = NO_LINEAGE, split_rule(catalog.dataset, plan.data, seed=plan.drawn_by, lineage=NO_LINEAGE)
    examples = build_dataset(catalog.products, plan.data, seed=plan.drawn_by, lineage=lineage)
    names = _Names(examples)
    # What nDCG grades by may be missing from a catalogue; what decides who is searched or right may not.
    for attribute in (*plan.data.relevance, *plan.within):
        check_known(attribute, examples.values((attribute,)))
    relevance, label = plan.data.relevance, plan.data.label
    labels = names.labels(examples.products, relevance, plan.graded, plan.within, label)
    gallery = Pictures(catalog, examples.products)
    kinds = names.values(label)
    if photographs is None:
        part = examples.rows(plan.part)
        if not len(part):
            raise EvaluationImpossible(f"the {plan.part} part has no products: give a larger catalogue")
        asked = _drawn(part, labels.kind[part], plan)
        return Contest(gallery, labels, kinds, examples, asked, rule)
    shown = tuple(one for one in photographs.products if combination(one, (label,)) in set(kinds))
    if not shown:
        raise EvaluationImpossible(
            f"no picture of {photographs.dataset!r} has a {label!r} that the catalogue has: there is nothing to ask"
        )
    kind_of = {name: code for code, name in enumerate(kinds)}
    shown_kinds = np.array([kind_of[str(combination(one, (label,)))] for one in shown], dtype=np.int64)
    kept = tuple(shown[row] for row in _drawn(np.arange(len(shown), dtype=np.int64), shown_kinds, plan))
    outside = names.labels(kept, relevance, plan.graded, plan.within, label)
    nowhere = np.empty(0, dtype=np.int64)
    return Contest(gallery, labels, kinds, examples, nowhere, rule, Pictures(photographs, kept), outside)


def check_known(attribute: str, values: Sequence[str | None]) -> None:
    """Raise ParameterInvalid where no product has the attribute."""
    if not any(value is not None for value in values):
        raise ParameterInvalid(f"no product has the attribute {attribute[:80]!r}")


def _drawn(rows: Rows, kinds: Codes, plan: EvaluationPlan) -> Rows:
    """The queries among `rows`, drawn by the seed, ascending: so many of each kind at most, and so many in all."""
    order = generator(EVALUATION_QUERIES, plan.drawn_by).permutation(len(rows))
    if plan.queries_per_kind is not None:
        taken: dict[int, int] = {}
        kept = []
        for at in order:
            kind = int(kinds[at])
            taken[kind] = taken.get(kind, 0) + 1
            if taken[kind] <= plan.queries_per_kind:
                kept.append(at)
        order = np.array(kept, dtype=np.int64)
    drawn: Rows = np.sort(rows[order[: plan.queries]])
    return drawn


class _Names:
    """The numbers of the gallery's values, by attribute. A value that only a photograph has is unknown."""

    def __init__(self, examples: Dataset) -> None:
        self._examples = examples
        self._known: dict[str, dict[str, int]] = {}

    def values(self, attribute: str) -> tuple[str, ...]:
        return tuple(self._codes(attribute))

    def labels(
        self,
        products: Sequence[Product],
        relevance: Sequence[str],
        graded: Sequence[str],
        within: Sequence[str],
        kind: str,
    ) -> Labels:
        return Labels(
            self._table(products, relevance),
            self._table(products, graded),
            self._table(products, within),
            self._table(products, (kind,))[:, 0],
        )

    def _table(self, products: Sequence[Product], attributes: Sequence[str]) -> Codes:
        table = np.full((len(products), len(attributes)), UNKNOWN, dtype=np.int64)
        for column, attribute in enumerate(attributes):
            codes = self._codes(attribute)
            for row, product in enumerate(products):
                value = combination(product, (attribute,))
                table[row, column] = UNKNOWN if value is None else codes.get(value, UNKNOWN)
        return table

    def _codes(self, attribute: str) -> dict[str, int]:
        if attribute not in self._known:
            names = classes_of(self._examples, (attribute,)).names
            self._known[attribute] = {name: code for code, name in enumerate(names)}
        return self._known[attribute]
