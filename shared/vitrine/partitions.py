"""The parts of a whole dataset at once: 60/20/20 within each class, or as the dataset's authors divided it.

`vitrine.splits` decides for one product alone; here the parts depend on which other products there are, and in return
every class has its shares exactly, or as nearly as groups that stay together allow.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import accumulate
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeValue, Product
from vitrine.splits import Part

PARTITION: Final = "partition"
ITEM: Final = "itemId"
# Validation and test have one product in so many each, train has the rest.
_ONE_IN: Final = 5
# Of a benchmark without a validation part, one training item in so many is for validation.
_HELD_OUT_ONE_IN: Final = 10
_OFFICIAL: Final[dict[AttributeValue, Part]] = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    # A retrieval benchmark asks with some of its test pictures for the others.
    "query": "test",
    "gallery": "test",
}


def stratified_split(
    products: Iterable[Product], *, attribute: str, seed: int, group: str | None = None
) -> dict[str, Part]:
    """The part of each product by its id: 60 % train, 20 % validation and 20 % test of every value of `attribute`.

    Which product goes where follows from the seed, the dataset and the id alone, not from the order of the products.
    A value of three products or more has one in each part; one of fewer is all train. With `group`, say `itemId`, all
    products of one group are in one part, so that no garment is both learnt and asked for: a group goes with its
    commonest value, whole groups are dealt out so that the numbers of products come near the shares, and it is three
    groups that a value needs. Products without one of the attributes are left out. Raises ParameterInvalid where no
    product has an attribute, or where the products are of several datasets.
    """
    known = _one_dataset(products)
    for name in (attribute, group):
        known = known if name is None else _having(known, name)
    units: dict[AttributeValue, list[Product]] = defaultdict(list)
    for product in known:
        units[product.id if group is None else product.attributes[group]].append(product)
    strata: dict[AttributeValue, dict[AttributeValue, int]] = defaultdict(dict)
    for key, members in units.items():
        strata[_usual_value(members, attribute)][key] = len(members)
    parts: dict[AttributeValue, Part] = {}
    for sizes in strata.values():
        parts |= _divided(sizes, dataset=known[0].dataset, seed=seed)
    return {product.id: parts[product.id if group is None else product.attributes[group]] for product in known}


def official_split(products: Iterable[Product]) -> dict[str, Part]:
    """The part of each product by its id, as its `partition` attribute says: `val` is validation, `query` and `gallery`
    are test.

    Where the authors made no validation part, as for in-shop retrieval, a tenth of the training items, chosen by the
    hash of dataset and item, is validation. Products without a partition are left out. Raises ParameterInvalid where no
    product has one, where it has a value that is no part, or where the products are of several datasets.
    """
    known = _having(_one_dataset(products), PARTITION)
    parts: dict[str, Part] = {}
    for product in known:
        word = product.attributes[PARTITION]
        if word not in _OFFICIAL:
            told = ", ".join(map(str, _OFFICIAL))
            raise ParameterInvalid(f"product {product.id!r} has the {PARTITION} {str(word)[:80]!r}; known are {told}")
        parts[product.id] = _OFFICIAL[word]
    if "validation" not in parts.values():
        training = [product for product in known if parts[product.id] == "train" and ITEM in product.attributes]
        held_out = _held_out({product.attributes[ITEM] for product in training}, dataset=known[0].dataset)
        parts |= {product.id: "validation" for product in training if product.attributes[ITEM] in held_out}
    return parts


def inshop_queries_and_gallery(products: Iterable[Product]) -> tuple[list[str], list[str]]:
    """The ids of the products whose `partition` is `query`, and of those whose it is `gallery`, each in their order.

    Raises ParameterInvalid where either has none, or where the products are of several datasets.
    """
    known = _having(_one_dataset(products), PARTITION)
    queries, gallery = (
        [product.id for product in known if product.attributes[PARTITION] == role] for role in ("query", "gallery")
    )
    for role, ids in (("query", queries), ("gallery", gallery)):
        if not ids:
            raise ParameterInvalid(f"no product has the {PARTITION} {role!r}, which a retrieval benchmark needs")
    return queries, gallery


def _one_dataset(products: Iterable[Product]) -> Sequence[Product]:
    listed = tuple(products)
    datasets = sorted({product.dataset for product in listed})
    if len(datasets) > 1:
        raise ParameterInvalid(
            f"the products are of several datasets ({', '.join(datasets[:10])}); split each by itself"
        )
    return listed


def _having(products: Sequence[Product], attribute: str) -> Sequence[Product]:
    having = [product for product in products if attribute in product.attributes]
    if not having:
        raise ParameterInvalid(f"no product has the attribute {attribute[:80]!r}, which the split needs")
    return having


def _usual_value(members: Sequence[Product], attribute: str) -> AttributeValue:
    """The commonest value in a group, of equally common ones the first in the alphabet."""
    counts = Counter(member.attributes[attribute] for member in members)
    return min(counts, key=lambda value: (-counts[value], str(value)))


def _divided(sizes: Mapping[AttributeValue, int], *, dataset: str, seed: int) -> dict[AttributeValue, Part]:
    """The part of each unit, a product or a group of so many, of one value."""
    ordered = _shuffled(sizes, f"{seed}\n{dataset}")
    if len(ordered) < 3:
        return dict.fromkeys(ordered, "train")
    share: float = _rounded(sum(sizes.values()), _ONE_IN)
    # In validation or test a unit above the share would leave too little to the others. Those parts need two units.
    descending = sorted(ordered, key=lambda key: -sizes[key])
    parts: dict[AttributeValue, Part] = {key: "train" for key in descending[:-2] if sizes[key] > share}
    rest = [key for key in ordered if key not in parts]
    ends = list(accumulate(sizes[key] for key in rest))
    share = min(share, ends[-1] / 2)
    # Laid end to end, a unit is in the part that its middle lies in; for units of one product the shares are exact.
    # Train is never empty: it has a unit above the share, or where there is none the last unit, which lies beyond both.
    middles = [end - sizes[key] / 2 for key, end in zip(rest, ends, strict=True)]
    tests_from = max(bisect_left(middles, share), 1)
    train_from = max(bisect_left(middles, 2 * share), tests_from + 1)
    for at, key in enumerate(rest):
        parts[key] = "validation" if at < tests_from else "test" if at < train_from else "train"
    return parts


def _held_out(items: Set[AttributeValue], *, dataset: str) -> Set[AttributeValue]:
    """A tenth of the items, at least one of two or more."""
    share = max(_rounded(len(items), _HELD_OUT_ONE_IN), 1) if len(items) > 1 else 0
    return set(_shuffled(items, f"held out\n{dataset}")[:share])


def _shuffled(keys: Iterable[AttributeValue], salt: str) -> list[AttributeValue]:
    """The keys in the order of their hashes, which is the same on every machine."""
    return sorted(keys, key=lambda key: (_rank(f"{salt}\n{key}"), str(key)))


def _rounded(count: int, divisor: int) -> int:
    return (count + divisor // 2) // divisor


def _rank(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
