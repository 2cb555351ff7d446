"""The health report as JSON: bounded lists with their totals, and the same in short for the job's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trainer.health.attributes import AttributeHealth
from trainer.health.collection import ScannedCollection
from trainer.health.duplicates import Duplicates, Group, differing_attributes
from trainer.health.labels import Suspects
from trainer.health.outliers import Outliers
from trainer.health.signatures import Oddity
from vitrine.products import public_id

HEALTH_FILE: Final = "health.json"
VERSION: Final = 1
Payloads = Mapping[str, Mapping[str, Any]]

_MOST_MEMBERS: Final = 24
_MOST_RARE: Final = 50
_MOST_SPELLINGS: Final = 12
_MOST_PAIRS: Final = 40
_SHOWN: Final = 10
_TEXT_CHARS: Final = 200

HOW_LABELS: Final = (
    "Each product is compared with the labels that the ten nearest neighbours of a label's products usually have. "
    "Duplicates and variants do not vote about each other. The confidence is the geometric mean of the "
    "probabilities that the present label is wrong and the suggested one right, fitted on the catalogue's own labels, "
    "times the share of the label's other products that do not look like the suggested one: two kinds that are "
    "confused all the time raise no suspicion. A product that is far from all others, also from those of the suggested "
    "label, counts less. Where the release has a classifier of the attribute, the confidence is "
    "the mean of this and of what the classifier says."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A suspected label, with the suspicion by each judge. `classifier` is None if it does not know the labels."""

    row: int
    given: str
    suggested: str
    confidence: float
    neighbours: float
    classifier: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that was found in a collection."""

    scan: ScannedCollection
    label: str | None
    suspects: Suspects
    judged: Sequence[Judged]
    duplicates: Duplicates
    outliers: Outliers
    oddities: Mapping[int, Oddity]  # of the pictures that were read
    attributes: Sequence[AttributeHealth]


def rows_shown(health: Health, most: int) -> list[int]:
    """The rows of all products that the report lists."""
    rows = [row for group in health.duplicates.groups[:most] for row in group.rows[:_MOST_MEMBERS]]
    rows += [one.row for one in health.judged[:most]]
    rows += health.outliers.rows[:most].tolist()
    rows += list(health.oddities)[:most]
    return list(dict.fromkeys(rows))


def health_document(
    health: Health, payloads: Payloads, *, most: int, head: Mapping[str, Any], kinds: Sequence[str]
) -> dict[str, Any]:
    """The report. `payloads` has the products of `rows_shown`, `head` says what was looked at, `kinds` are the names of
    the attributes.
    """
    return {
        **head,
        "version": VERSION,
        "label": health.label,
        "products": len(health.scan),
        "duplicates": _duplicates(health, payloads, most, kinds),
        "labels": _labels(health, payloads, most),
        "outliers": _outliers(health, payloads, most),
        "pictures": _oddities(health, payloads, most),
        "attributes": [_attribute(one, len(health.scan)) for one in health.attributes],
        "twins": _twins(health.attributes, most),
    }


def health_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Counts, and the first few of each list."""
    groups, labels, outliers = document["duplicates"], document["labels"], document["outliers"]
    return {
        "products": document["products"],
        "duplicate_groups": groups["total"],
        "duplicate_products": groups["products"],
        "suspected_labels": labels["total"],
        "outliers": outliers["total"],
        "odd_pictures": document["pictures"]["total"],
        "spelling_twins": document["twins"]["total"],
        "empty_values": sum(one["empty"] for one in document["attributes"]),
        "first": {
            "duplicates": [
                {"kind": one["kind"], "ids": [member["id"] for member in one["members"]][:_SHOWN]}
                for one in groups["groups"][:_SHOWN]
            ],
            "labels": [
                {name: one[name] for name in ("id", "given", "suggested", "confidence")}
                for one in labels["suspects"][:_SHOWN]
            ],
            "outliers": [one["id"] for one in outliers["products"][:_SHOWN]],
            "attributes": [
                {name: one[name] for name in ("name", "empty", "share")}
                for one in document["attributes"]
                if one["empty"]
            ][:_SHOWN],
            "twins": [
                {"attribute": one["attribute"], "suggested": one["suggested"],
                 "others": [other["value"] for other in one["spellings"]]}
                for one in document["twins"]["groups"][:_SHOWN]
            ],
        },
    }  # fmt: skip


def _duplicates(health: Health, payloads: Payloads, most: int, kinds: Sequence[str]) -> dict[str, Any]:
    found = health.duplicates
    return {
        "total": len(found.groups),
        "products": len({row for group in found.groups for row in group.rows}),
        "compared": found.compared,
        "left_out": found.left_out,
        "variant_groups": found.variants,
        "groups": [_group(health, group, payloads, kinds) for group in found.groups[:most]],
    }


def _group(health: Health, group: Group, payloads: Payloads, kinds: Sequence[str]) -> dict[str, Any]:
    shown = group.rows[:_MOST_MEMBERS]
    known = [payloads[health.scan.ids[row]] for row in shown if health.scan.ids[row] in payloads]
    differing = differing_attributes(known, [*kinds, "name"] if "name" not in kinds else kinds)
    return {
        "kind": group.kind,
        "placeholder": group.placeholder,
        "oddity": group.oddity,
        "products": len(group.rows),
        "members": [{**_product(health, row, payloads), "mirrored": row in group.mirrored} for row in shown],
        "differing": {name: [_cut(value) for value in values] for name, values in differing.items()},
    }


def _labels(health: Health, payloads: Payloads, most: int) -> dict[str, Any]:
    suspects, names = health.suspects, health.scan.label_names
    return {
        "how": HOW_LABELS,
        "total": len(suspects.rows),
        "judged": suspects.judged,
        "agreeing": round(suspects.agreeing, 4),
        "temperature": suspects.temperature,
        "suspects": [
            {
                **_product(health, one.row, payloads),
                "given": _cut(one.given),
                "suggested": _cut(one.suggested),
                "confidence": round(one.confidence, 3),
                "neighbours": round(one.neighbours, 3),
                "classifier": None if one.classifier is None else round(one.classifier, 3),
            }
            for one in health.judged[:most]
        ],
        "pairs": [
            {"given": _cut(names[given]), "suggested": _cut(names[suggested]), "suspects": number, "products": products}
            for given, suggested, number, products in suspects.pairs[:_MOST_PAIRS]
        ],
    }


def _outliers(health: Health, payloads: Payloads, most: int) -> dict[str, Any]:
    found = health.outliers
    return {
        "total": len(found.rows),
        "usual_distance": round(found.usual, 4),
        "threshold": round(found.threshold, 4),
        "products": [
            {**_product(health, row, payloads), "distance": round(distance, 4), "oddity": health.oddities.get(row)}
            for row, distance in zip(found.rows[:most].tolist(), found.distances[:most].tolist(), strict=True)
        ],
    }


def _oddities(health: Health, payloads: Payloads, most: int) -> dict[str, Any]:
    """Blank and greyscale pictures among those that were read."""
    rows = sorted(health.oddities, key=lambda row: (health.oddities[row] != "blank", row))
    return {
        "total": len(rows),
        "products": [{**_product(health, row, payloads), "oddity": health.oddities[row]} for row in rows[:most]],
    }


def _attribute(one: AttributeHealth, products: int) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": str(one.kind),
        "empty": one.empty,
        "share": round(one.empty / products, 4) if products else 0.0,
        "values": one.values,
        "rare_total": len(one.rare),
        "rare": [{"value": _cut(value), "count": count} for value, count in one.rare[:_MOST_RARE]],
    }


def _twins(attributes: Sequence[AttributeHealth], most: int) -> dict[str, Any]:
    every = [(one.name, twins) for one in attributes for twins in one.twins]
    every.sort(key=lambda pair: (-pair[1].products, pair[0], pair[1].suggested))
    return {
        "total": len(every),
        "products": sum(twins.products for _, twins in every),
        "groups": [
            {
                "attribute": name,
                "suggested": _cut(twins.suggested),
                "count": twins.count,
                "spellings": [
                    {"value": _cut(other.value), "count": other.count, "why": other.why}
                    for other in twins.others[:_MOST_SPELLINGS]
                ],
            }
            for name, twins in every[:most]
        ],
    }


def _product(health: Health, row: int, payloads: Payloads) -> dict[str, Any]:
    product_id = health.scan.ids[row]
    payload = payloads.get(product_id, {})
    label = int(health.scan.labels[row])
    return {
        "id": public_id(product_id),
        "name": _cut(str(payload.get("name") or "")),
        "label": None if label < 0 else _cut(health.scan.label_names[label]),
        "version": str(payload.get("picture_sha256") or "")[:12],
    }


def _cut(text: str) -> str:
    return text[:_TEXT_CHARS]


def confidence_of(neighbours: float, classifier: float | None) -> float:
    """The mean of what the two judges say, if there are two."""
    return neighbours if classifier is None else float(np.mean([neighbours, classifier]))
