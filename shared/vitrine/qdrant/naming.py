"""Names of collections and aliases.

A vector has meaning only together with the release that made it, so the names contain both. A search resolves alias,
collection and release once and then uses all three together.

    <dataset>--<release_id>       the first generation of a collection
    <dataset>--<release_id>--2    a further one, built beside it if the fields or the catalogue have changed
    <dataset>--<model>            the alias
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.products import check_dataset_name, check_model_name

SEPARATOR: Final = "--"
RELEASE_ID = re.compile(r"(?P<model>[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,119})-(?P<digest>[0-9a-f]{10})")
_GENERATION = re.compile(r"[2-9]|[1-9][0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves a dataset and model: the release that embeds queries, and the collection of its vectors."""

    dataset: str
    model: str
    release_id: str
    collection: str


def model_of_release(release_id: str) -> str:
    """The model in a release id. Raises ParameterInvalid if the id is not `<model>-<10 hex digits>`."""
    match = RELEASE_ID.fullmatch(release_id)
    if match is None:
        raise ParameterInvalid(f"{release_id[:80]!r} is not a release id: it is <model>-<10 hex digits>")
    return match["model"]


def collection_name(dataset: str, release_id: str, generation: int = 1) -> str:
    """The collection of a dataset's vectors by one release. Generations count from 1."""
    model_of_release(release_id)
    name = f"{check_dataset_name(dataset)}{SEPARATOR}{release_id}"
    return name if generation == 1 else f"{name}{SEPARATOR}{generation}"


def alias_name(dataset: str, model: str) -> str:
    """The alias of the collection that serves a dataset and model."""
    return f"{check_dataset_name(dataset)}{SEPARATOR}{check_model_name(model)}"


def parse_collection_name(name: str) -> tuple[str, str] | None:
    """(dataset, release_id) of a collection of any generation; None if the name is not one of Vitrine's."""
    dataset, separator, rest = name.partition(SEPARATOR)
    release_id, further, generation = rest.partition(SEPARATOR)
    if not separator or not dataset or RELEASE_ID.fullmatch(release_id) is None:
        return None
    if further and _GENERATION.fullmatch(generation) is None:
        return None
    return dataset, release_id


def generation_of(name: str) -> int:
    """The generation of one of Vitrine's collections."""
    parts = name.split(SEPARATOR)
    return int(parts[2]) if len(parts) == 3 else 1


def serving_of(alias: str, collection: str) -> Serving | None:
    """What an alias serves. None if alias and collection do not match, so that they must not be searched."""
    parsed = parse_collection_name(collection)
    if parsed is None:
        return None
    dataset, release_id = parsed
    model = model_of_release(release_id)
    if alias != alias_name(dataset, model):
        return None
    return Serving(dataset=dataset, model=model, release_id=release_id, collection=collection)
