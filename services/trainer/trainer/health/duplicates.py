"""Products with the same picture, or nearly: the same file, the same picture in another size or quality, or mirrored.

Equal files are found by their hash. Near neighbours are compared by their pictures. A product joins a group only if its
picture is like that of every member, so that no chain of small changes links pictures that are unlike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from trainer.health.collection import ScannedCollection
from trainer.health.signatures import SAME_SHARE, Oddity, Signature, Signatures
from vitrine.types import Codes, Flags, Values

GroupKind = Literal["same file", "nearly the same", "mirrored", "further picture"]

# Neighbours below this cosine are not compared, and of each product only the nearest few.
_LEAST_SCORE: Final = 0.9
_NEAREST: Final = 8
MOST_PICTURES: Final = 20_000
_MEMBERS_COMPARED: Final = 24
# Between members that are no pair of neighbours a little more difference is allowed.
_WITHIN_GROUP: Final = 1.5
# One picture in so many products, of several labels or in very many, is a placeholder.
_PLACEHOLDER: Final = 5
_PLACEHOLDER_LABELS: Final = 3
_PLACEHOLDER_ANYWAY: Final = 30


@dataclass(frozen=True, slots=True)
class Group:
    """Products that share a picture, by row. `mirrored` are those that show it the other way round than the first."""

    rows: tuple[int, ...]
    kind: GroupKind
    mirrored: frozenset[int] = frozenset()
    placeholder: bool = False
    oddity: Oddity | None = None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """All groups, the largest first. `of_row` (N,) has the number of each product's group, -1 without.

    `compared` pairs were compared by their pictures, `left_out` were too many. `variants` groups share a picture
    because they are variants of one product, which is no fault.
    """

    groups: tuple[Group, ...]
    of_row: Codes
    compared: int
    left_out: int
    variants: int
    oddities: Mapping[int, Oddity]


@dataclass(slots=True)
class _Union:
    """Groups of representatives, each like every other one."""

    members: dict[int, list[int]] = field(default_factory=dict)
    leader: dict[int, int] = field(default_factory=dict)

    def group(self, one: int) -> list[int]:
        return self.members.get(self.leader.get(one, one), [one])

    def join(self, one: int, other: int) -> None:
        first, second = self.group(one), self.group(other)
        kept = self.leader.get(one, one)
        joined = [*first, *second]
        self.members.pop(self.leader.get(other, other), None)
        self.members[kept] = joined
        self.leader |= dict.fromkeys(joined, kept)


def find_duplicates(
    scan: ScannedCollection,
    signatures_of: Callable[[Sequence[int]], Sequence[Signature | None]],
    *,
    most_pictures: int = MOST_PICTURES,
) -> Duplicates:
    """The groups of a collection. `signatures_of` reads the first picture of products by row, None without one.

    If more than `most_pictures` would have to be read, the less similar pairs are left out.
    """
    representative = _representatives(scan)
    pairs = _candidates(scan, representative)
    kept = _affordable(pairs, most_pictures)
    rows = list(dict.fromkeys([*kept.ravel().tolist(), *_shared(representative)]))
    read = dict(zip(rows, signatures_of(rows), strict=True))
    known = {row: one for row, one in read.items() if one is not None}
    compared = _Compared(known)
    groups, variants = _groups(scan, representative, _confirmed(kept, compared), compared)
    groups += _further_pictures(scan)
    groups.sort(key=lambda group: (-len(group.rows), group.rows))
    of_row = np.full(len(scan), -1, dtype=np.int64)
    for number, group in enumerate(groups):
        if group.kind != "further picture":
            of_row[list(group.rows)] = number
    oddities = {row: one.oddity for row, one in known.items() if one.oddity is not None}
    return Duplicates(tuple(groups), of_row, len(kept), len(pairs) - len(kept), variants, oddities)


def _representatives(scan: ScannedCollection) -> Codes:
    """For each product the first one with the same file (N,): itself, if no other has it or the hash is unknown."""
    rows = np.arange(len(scan), dtype=np.int64)
    _, first, place = np.unique(scan.faces, return_index=True, return_inverse=True)
    return np.where(scan.faces == 0, rows, first[place])


def _shared(representative: Codes) -> list[int]:
    """The representatives of more than one product."""
    rows, counts = np.unique(representative, return_counts=True)
    shared: list[int] = rows[counts > 1].tolist()
    return shared


def _candidates(scan: ScannedCollection, representative: Codes) -> Codes:
    """Pairs of representatives (P, 2) to compare, the most similar first. Variants of one product are no pair."""
    near, scores = scan.neighbours[:, :_NEAREST], scan.scores[:, :_NEAREST]
    row, column = np.nonzero((near >= 0) & (scores >= _LEAST_SCORE))
    one, other = representative[row], representative[near[row, column]]
    variants = (scan.variants[row] != 0) & (scan.variants[row] == scan.variants[near[row, column]])
    keep = (one != other) & ~variants
    pairs = np.sort(np.stack([one[keep], other[keep]], axis=1), axis=1)
    order = np.argsort(-scores[row, column][keep], kind="stable")
    _, first = np.unique(pairs[order], axis=0, return_index=True)
    return pairs[order][np.sort(first)]


def _affordable(pairs: Codes, most_pictures: int) -> Codes:
    """The first pairs that together have at most so many products."""
    flat = pairs.ravel()
    _, first = np.unique(flat, return_index=True)
    if len(first) <= most_pictures:
        return pairs
    last = int(np.sort(first)[most_pictures])  # the place of the first product that is too much
    return pairs[: last // 2]


class _Compared:
    """The pictures that could be read, by row."""

    def __init__(self, known: Mapping[int, Signature]) -> None:
        self.known = known
        self._places = {row: place for place, row in enumerate(known)}
        self._signatures = Signatures(list(known.values()))

    def differences(self, pairs: Sequence[tuple[int, int]]) -> tuple[Values, Flags]:
        """As of `Signatures`, for pairs of rows."""
        places = np.array([(self._places[one], self._places[other]) for one, other in pairs], dtype=np.int64)
        return self._signatures.differences(*places.reshape(-1, 2).T)


def _confirmed(pairs: Codes, compared: _Compared) -> _Union:
    """Groups of pairs whose pictures are the same. The surest pairs are joined first."""
    union = _Union()
    readable = [(one, other) for one, other in pairs.tolist() if one in compared.known and other in compared.known]
    differences, _ = compared.differences(readable)
    for number in np.argsort(differences, kind="stable").tolist():
        if differences[number] > SAME_SHARE:
            break
        one, other = readable[number]
        first, second = union.group(one), union.group(other)
        if other in first:
            continue
        crossed = [(a, b) for a in first[:_MEMBERS_COMPARED] for b in second[:_MEMBERS_COMPARED]]
        if compared.differences(crossed)[0].max() <= _WITHIN_GROUP * SAME_SHARE:
            union.join(one, other)
    return union


def _groups(
    scan: ScannedCollection, representative: Codes, union: _Union, compared: _Compared
) -> tuple[list[Group], int]:
    """The groups of products, and the number of groups that are nothing but the variants of one product."""
    equal: dict[int, list[int]] = defaultdict(list)
    together = np.isin(representative, [*_shared(representative), *union.leader])
    for row in np.flatnonzero(together).tolist():
        equal[int(representative[row])].append(row)
    groups, variants = [], 0
    done: set[int] = set()
    for lead in equal:
        if lead in done:
            continue
        parts = union.group(lead)
        done.update(parts)
        rows = sorted(row for part in parts for row in equal[part])
        if len(rows) < 2:
            continue
        if _products(scan, rows) < 2:
            variants += 1
            continue
        mirrored: frozenset[int] = frozenset()
        if len(parts) > 1:
            _, turned = compared.differences([(parts[0], part) for part in parts])
            mirrored = frozenset(row for part in np.array(parts)[turned].tolist() for row in equal[part])
        kind: GroupKind = "mirrored" if mirrored else "nearly the same" if len(parts) > 1 else "same file"
        odd = compared.known[lead].oddity if lead in compared.known else None
        groups.append(Group(tuple(rows), kind, mirrored, _is_placeholder(scan, rows, odd), odd))
    return groups, variants


def _products(scan: ScannedCollection, rows: Sequence[int]) -> int:
    """The number of products; variants of one count as one."""
    variants = scan.variants[list(rows)]
    return len(np.unique(variants[variants != 0])) + int((variants == 0).sum())


def _is_placeholder(scan: ScannedCollection, rows: Sequence[int], odd: Oddity | None) -> bool:
    products = _products(scan, rows)
    if odd == "blank":
        return True
    labels = scan.labels[list(rows)]
    several = len(np.unique(labels[labels >= 0])) >= _PLACEHOLDER_LABELS
    return products >= _PLACEHOLDER_ANYWAY or (products >= _PLACEHOLDER and several)


def _further_pictures(scan: ScannedCollection) -> list[Group]:
    """Products that share a file which is not the first picture of all of them."""
    keys, rows, numbers = scan.pictures.keys, scan.pictures.rows, scan.pictures.numbers
    if not (numbers > 0).any():
        return []
    order = np.argsort(keys, kind="stable")
    order = order[keys[order] != 0]
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    found = []
    for part in np.split(order, ends):
        shared = np.unique(rows[part])
        if len(shared) > 1 and (numbers[part] > 0).any() and _products(scan, shared.tolist()) > 1:
            several = _is_placeholder(scan, shared.tolist(), None)
            found.append(Group(tuple(shared.tolist()), "further picture", placeholder=several))
    return found


def differing_attributes(payloads: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[str]]:
    """The attributes in which products differ, with the different values in order; empty text without a value."""
    found = {}
    for name in names:
        values = [_text(payload.get(name)) for payload in payloads]
        different = list(dict.fromkeys(values))
        if len(different) > 1:
            found[name] = different
    return found


def _text(value: Any) -> str:
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
