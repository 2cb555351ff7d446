"""Split a catalogue into train, validation and test: 60/20/20 within each class, or the dataset's official split. All
training, selection and evaluation uses it (decision 23).

A split depends on the seed, the dataset and the catalogue's products at that time, so it is computed once and stored
with the release (`vitrine.releases.lineage`). For later products, `split` accepts the known parts: a known product
keeps its part, and the new ones are split among themselves.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal

from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeValue, Product

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
# Increases with every change of the code below that moves a product to another part.
RULE_VERSION: Final = 1
PARTITION: Final = "partition"
ITEM: Final = "itemId"
# Validation and test have one product in five each, train the rest.
_ONE_IN: Final = 5
# If a benchmark has no validation part, it gets one training item in ten.
_HELD_OUT_ONE_IN: Final = 10
_OFFICIAL: Final[dict[AttributeValue, Part]] = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    # In a retrieval benchmark, some test pictures are queries for the others.
    "query": "test",
    "gallery": "test",
}


@dataclass(frozen=True, slots=True)
class SplitRule:
    """The parameters of a split. The values of `attribute` are the classes."""

    attribute: str
    seed: int
    group: str | None = None
    kind: Literal["stratified", "official"] = "stratified"
    version: int = field(default=RULE_VERSION)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def split(products: Iterable[Product], rule: SplitRule, known: Mapping[str, Part] | None = None) -> dict[str, Part]:
    """The part of each product, by product id.

    `known` are the parts of an earlier split, by id: those products and the others of their groups keep them, and the
    rest is split among itself. An official split ignores them. Raises as `stratified_split` and `official_split` do.
    """
    if rule.kind == "official":
        return official_split(products)
    return stratified_split(products, attribute=rule.attribute, seed=rule.seed, group=rule.group, known=known)


def stratified_split(
    products: Iterable[Product],
    *,
    attribute: str,
    seed: int,
    group: str | None = None,
    known: Mapping[str, Part] | None = None,
) -> dict[str, Part]:
    """The part of each product, by product id: 60 % train, 20 % validation and 20 % test of every value of `attribute`,
    and of the products without a value.

    The result does not depend on the order of the products or on the other classes: a subset of whole classes is split
    as within the whole catalogue. A class of three or more products has at least one in each part; a smaller one is all
    train. With `group`, e.g. `itemId`, all products of a group are in one part, so that no garment is in both training
    and test. A group has the class of its most frequent value, the shares are approximate, and a class needs three
    groups. Products without the group attribute are left out. `known` as in `split`. Raises ParameterInvalid if no
    product has the group attribute, or if the products belong to several datasets.
    """
    listed = _one_dataset(products)
    if group is not None:
        listed = _having(listed, group)
    units: dict[AttributeValue, list[Product]] = defaultdict(list)
    for product in listed:
        units[product.id if group is None else product.attributes[group]].append(product)
    parts: dict[AttributeValue, Part] = {}
    strata: dict[AttributeValue | None, dict[AttributeValue, int]] = defaultdict(dict)
    for key, members in units.items():
        kept = {known[member.id] for member in members if member.id in known} if known else set()
        if kept:
            # If a group is in several parts, the training part has priority.
            parts[key] = next(part for part in PARTS if part in kept)
        else:
            strata[_usual_value(members, attribute)][key] = len(members)
    for sizes in strata.values():
        parts |= _divided(sizes, dataset=listed[0].dataset, seed=seed)
    return {product.id: parts[product.id if group is None else product.attributes[group]] for product in listed}


def official_split(products: Iterable[Product]) -> dict[str, Part]:
    """The part of each product, by product id, from its `partition` attribute: `val` is validation, `query` and
    `gallery` are test.

    If there is no validation part, as in in-shop retrieval, a tenth of the training items is validation, chosen by the
    hash of dataset and item. Products without a partition are left out. Raises ParameterInvalid if no product has one,
    if it has an unknown value, or if the products belong to several datasets.
    """
    known = _having(_one_dataset(products), PARTITION)
    parts: dict[str, Part] = {}
    for product in known:
        word = product.attributes[PARTITION]
        if word not in _OFFICIAL:
            known_words = ", ".join(map(str, _OFFICIAL))
            raise ParameterInvalid(
                f"product {product.id!r} has the {PARTITION} {str(word)[:80]!r}; it must be one of {known_words}"
            )
        parts[product.id] = _OFFICIAL[word]
    if "validation" not in parts.values():
        training = [product for product in known if parts[product.id] == "train" and ITEM in product.attributes]
        held_out = _held_out({product.attributes[ITEM] for product in training}, dataset=known[0].dataset)
        parts |= {product.id: "validation" for product in training if product.attributes[ITEM] in held_out}
    return parts


def _one_dataset(products: Iterable[Product]) -> Sequence[Product]:
    listed = tuple(products)
    datasets = sorted({product.dataset for product in listed})
    if len(datasets) > 1:
        raise ParameterInvalid(
            f"the products belong to several datasets ({', '.join(datasets[:10])}); split each separately"
        )
    return listed


def _having(products: Sequence[Product], attribute: str) -> Sequence[Product]:
    having = [product for product in products if attribute in product.attributes]
    if not having:
        raise ParameterInvalid(f"no product has the attribute {attribute[:80]!r}, which the split needs")
    return having


def _usual_value(members: Sequence[Product], attribute: str) -> AttributeValue | None:
    """The most frequent value in a group, ties in alphabetical order; None if no member has a value."""
    counts = Counter(value for member in members if (value := member.attributes.get(attribute)) is not None)
    return min(counts, key=lambda value: (-counts[value], str(value)), default=None)


def _divided(sizes: Mapping[AttributeValue, int], *, dataset: str, seed: int) -> dict[AttributeValue, Part]:
    """The part of each unit of one class. A unit is a product or a group; `sizes` are numbers of products."""
    ordered = _shuffled(sizes, f"{seed}\n{dataset}")
    if len(ordered) < 3:
        return dict.fromkeys(ordered, "train")
    share: float = _rounded(sum(sizes.values()), _ONE_IN)
    # A unit larger than the share would leave too little for the other part, so it is train. Two units must remain.
    descending = sorted(ordered, key=lambda key: -sizes[key])
    parts: dict[AttributeValue, Part] = {key: "train" for key in descending[:-2] if sizes[key] > share}
    rest = [key for key in ordered if key not in parts]
    ends = list(accumulate(sizes[key] for key in rest))
    share = min(share, ends[-1] / 2)
    # Placed end to end, a unit belongs to the part in which its middle is; for units of one product shares are exact.
    # Train is never empty: it has the units above the share, or else the last unit.
    middles = [end - sizes[key] / 2 for key, end in zip(rest, ends, strict=True)]
    tests_from = max(bisect_left(middles, share), 1)
    train_from = max(bisect_left(middles, 2 * share), tests_from + 1)
    for at, key in enumerate(rest):
        parts[key] = "validation" if at < tests_from else "test" if at < train_from else "train"
    return parts


def _held_out(items: Set[AttributeValue], *, dataset: str) -> Set[AttributeValue]:
    """A tenth of the items, at least one if there are two or more."""
    share = max(_rounded(len(items), _HELD_OUT_ONE_IN), 1) if len(items) > 1 else 0
    return set(_shuffled(items, f"held out\n{dataset}")[:share])


def _shuffled(keys: Iterable[AttributeValue], salt: str) -> list[AttributeValue]:
    """The keys in the order of their hashes: the same on every machine."""
    return sorted(keys, key=lambda key: (_rank(f"{salt}\n{key}"), str(key)))


def _rounded(count: int, divisor: int) -> int:
    return (count + divisor // 2) // divisor


def _rank(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
