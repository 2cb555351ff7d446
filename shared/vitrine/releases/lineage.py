"""The lineage of a release: the split of every catalogue involved, and the products that the release and its ancestors
were fitted or selected on.

It is stored beside the manifest. Each product is a 64-bit hash of its id, so that a release does not disclose which
products a shop has, and one byte of marks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vitrine.errors import ReleaseCorrupt
from vitrine.splits import PARTS, Part, SplitRule

FORMAT_VERSION: Final = 1
_ABOUT: Final = "about"
# Marks of a product: its part (1, 2 or 3; 0: none) in the lowest two bits, then how it was used.
_PART: Final = 0b11
_FITTED: Final = 0b100
_CHOSEN: Final = 0b1000

Hashes = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Marked:
    """The products of one dataset: unique hashes (N,), ascending, and their marks (N,)."""

    hashes: Hashes
    flags: Marks

    def of(self, ids: Iterable[str]) -> Marks:
        """The marks (M,) of these products, by id; 0 for unknown ones."""
        wanted = _hashed(ids)
        if not len(self.hashes):
            return np.zeros(len(wanted), dtype=np.uint8)
        at = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        marks: Marks = np.where(self.hashes[at] == wanted, self.flags[at], 0).astype(np.uint8)
        return marks

    def merged(self, other: Marked, *, parts: bool) -> Marked:
        """The union. A product keeps its part; with `parts`, products without one get that of `other`."""
        flags = other.flags if parts else other.flags & ~np.uint8(_PART)
        hashes, place = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        mine, theirs = np.zeros(len(hashes), dtype=np.uint8), np.zeros(len(hashes), dtype=np.uint8)
        mine[place[: len(self.hashes)]] = self.flags
        theirs[place[len(self.hashes) :]] = flags
        part = np.where(mine & _PART, mine & _PART, theirs & _PART)
        merged: Marks = ((mine | theirs) & ~np.uint8(_PART) | part).astype(np.uint8)
        return Marked(hashes, merged)


_EMPTY: Final = Marked(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint8))


@dataclass(frozen=True, slots=True)
class Lineage:
    """`rules` and `products` by dataset. `unknown` lists what is not recorded, `stated` what the maker stated."""

    rules: Mapping[str, SplitRule] = field(default_factory=dict)
    products: Mapping[str, Marked] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()

    def with_split(self, dataset: str, rule: SplitRule, parts: Mapping[str, Part]) -> Lineage:
        """Add the part of each product, by id. Known parts and rules are kept."""
        flags = np.array([PARTS.index(part) + 1 for part in parts.values()], dtype=np.uint8)
        return self._adding(dataset, _marked(parts, flags), {dataset: rule})

    def with_products(self, dataset: str, *, fitted: Iterable[str] = (), chosen: Iterable[str] = ()) -> Lineage:
        """Add products, by id, that something was `fitted` on, or selected (`chosen`) on."""
        more = self
        for ids, mark in ((list(fitted), _FITTED), (list(chosen), _CHOSEN)):
            if ids:
                more = more._adding(dataset, _marked(ids, np.full(len(ids), mark, dtype=np.uint8)), {})
        return more

    def with_unknown(self, *what: str) -> Lineage:
        return replace(self, unknown=tuple(dict.fromkeys((*self.unknown, *what))))

    def __or__(self, other: Lineage) -> Lineage:
        """The union. If both split a dataset, the split of `self` is kept."""
        both = self
        for dataset, marked in other.products.items():
            rule = other.rules.get(dataset)
            both = both._adding(dataset, marked, {} if rule is None else {dataset: rule})
        return replace(
            both,
            unknown=tuple(dict.fromkeys((*self.unknown, *other.unknown))),
            stated=tuple(dict.fromkeys((*self.stated, *other.stated))),
        )

    def parts_of(self, dataset: str, ids: Iterable[str]) -> dict[str, Part]:
        """The part of each of these products that has one."""
        listed = list(ids)
        marks = self.products.get(dataset, _EMPTY).of(listed) & _PART
        return {listed[row]: PARTS[marks[row] - 1] for row in np.flatnonzero(marks)}

    def seen(self, dataset: str, ids: Iterable[str]) -> npt.NDArray[np.bool_]:
        """(M,) whether something was fitted or selected on each of these products."""
        seen: npt.NDArray[np.bool_] = (self.products.get(dataset, _EMPTY).of(ids) & (_FITTED | _CHOSEN)) > 0
        return seen

    def used(self, dataset: str, ids: Iterable[str]) -> tuple[int, int]:
        """(products that something was fitted on, others that something was selected on)."""
        marks = self.products.get(dataset, _EMPTY).of(ids)
        fitted = (marks & _FITTED) > 0
        return int(fitted.sum()), int(((marks & _CHOSEN) > 0)[~fitted].sum())

    def _adding(self, dataset: str, marked: Marked, rules: Mapping[str, SplitRule]) -> Lineage:
        known = self.rules.get(dataset)
        agreed = known is None or known == rules.get(dataset, known)
        products = self.products.get(dataset, _EMPTY).merged(marked, parts=agreed)
        return replace(self, rules={**rules, **self.rules}, products={**self.products, dataset: products})

    def as_bytes(self) -> bytes:
        """The content of the file. Equal lineages have equal bytes."""
        datasets = sorted(self.products)
        about = {
            "version": FORMAT_VERSION,
            "datasets": datasets,
            "rules": {dataset: rule.as_json() for dataset, rule in sorted(self.rules.items())},
            "unknown": list(self.unknown),
            "stated": list(self.stated),
        }
        text = json.dumps(about, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        tensors: dict[str, npt.NDArray[Any]] = {_ABOUT: np.frombuffer(text, dtype=np.uint8)}
        for number, dataset in enumerate(datasets):
            tensors[f"{number}.hashes"] = self.products[dataset].hashes
            tensors[f"{number}.flags"] = self.products[dataset].flags
        return save(tensors)

    @classmethod
    def parse(cls, data: bytes, *, release_id: str) -> Lineage:
        """Parse what `as_bytes` returned. Raises ReleaseCorrupt."""
        try:
            tensors = load(data)
            about = json.loads(tensors[_ABOUT].tobytes())
            if about["version"] != FORMAT_VERSION:
                raise ReleaseCorrupt(
                    f"the split of release {release_id!r} has version {about['version']!r}, but this Vitrine reads "
                    f"version {FORMAT_VERSION}: update Vitrine"
                )
            products = {
                str(dataset): _checked(tensors[f"{number}.hashes"], tensors[f"{number}.flags"])
                for number, dataset in enumerate(about["datasets"])
            }
            rules = {str(dataset): SplitRule(**rule) for dataset, rule in about["rules"].items()}
            unknown, stated = (tuple(map(str, about[name])) for name in ("unknown", "stated"))
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReleaseCorrupt(f"the split of release {release_id!r} cannot be read: {error}") from error
        return cls(rules, products, unknown, stated)


def _hashed(ids: Iterable[str]) -> Hashes:
    digests = b"".join(hashlib.blake2b(one.encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def _marked(ids: Iterable[str], flags: Marks) -> Marked:
    hashes, first = np.unique(_hashed(ids), return_index=True)
    return Marked(hashes, flags[first])


def _checked(hashes: npt.NDArray[Any], flags: npt.NDArray[Any]) -> Marked:
    if hashes.dtype != np.uint64 or flags.dtype != np.uint8 or hashes.ndim != 1 or hashes.shape != flags.shape:
        raise ValueError("the products and their marks do not match")
    if np.any(hashes[1:] <= hashes[:-1]):
        raise ValueError("the products are not in ascending order")
    return Marked(hashes, flags)
