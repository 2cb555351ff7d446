"""Which split a job works with: that of the release it goes on from, where it has one of the same catalogue, else a new
one. So what a release learned from is never tested on by what is made from it, nor by an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from vitrine.products import Product
from vitrine.recipes import DataRecipe
from vitrine.releases.lineage import Lineage
from vitrine.splits import Part, SplitRule, split


def split_rule(dataset: str, data: DataRecipe, *, seed: int, lineage: Lineage) -> SplitRule:
    """The rule of the split: the lineage's, if it keeps the same things together, else that of `data` and `seed`."""
    wanted = SplitRule(attribute=data.label, seed=seed, group=data.group, kind=data.split)
    known = lineage.rules.get(dataset)
    return known if known is not None and (known.kind, known.group) == (wanted.kind, wanted.group) else wanted


def split_products(products: Sequence[Product], rule: SplitRule, lineage: Lineage) -> dict[str, Part]:
    """The part of each product by its id: as the lineage has it, where it was split by this rule, and by the rule for
    all others. Raises ParameterInvalid as `vitrine.splits.split` does.
    """
    if not products:
        return {}
    dataset = products[0].dataset
    known = lineage.parts_of(dataset, [one.id for one in products]) if lineage.rules.get(dataset) == rule else {}
    return split(products, rule, known)
