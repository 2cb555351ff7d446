"""The lineage of a stored release. For releases older than stored lineages, it is reconstructed from the manifest and
the files of the training; whatever they do not record is unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

from pydantic import ValidationError

from vitrine.errors import ReleaseCorrupt, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.releases.lineage import Lineage
from vitrine.releases.manifest import FittedOn, Manifest
from vitrine.releases.store import SPLIT_FILE, ReleaseStore
from vitrine.splits import PARTS, Part, SplitRule

PARTS_FILE: Final = "parts.json"
# In the training folder of a release without its parents: what each parent was fitted on, by its id.
PARENTS_FILE: Final = "parents.json"
_RELEASE: Final = "release:"
_FILE: Final = "file:"


def lineage_of(store: ReleaseStore, release_id: str) -> Lineage:
    """What a release and its ancestors were fitted and selected on.

    Raises ReleaseNotFound, ReleaseCorrupt, and ReleaseOfOtherKind for a parser.
    """
    manifest = store.manifest(release_id)
    if manifest.split_sha256 is not None:
        return Lineage.parse((store.local_folder(release_id) / SPLIT_FILE).read_bytes(), release_id=release_id)
    found = _from_training(store, manifest)
    for parent in _parents(manifest):
        found |= _from_parent(store, manifest, parent)
    return found | weights_lineage(store, manifest.weights.source, manifest.weights.source_sha256)


def weights_lineage(store: ReleaseStore, source: str, sha256: str | None, *, stated: str | None = None) -> Lineage:
    """What weights were trained on.

    Nothing if they are random or published. The lineage of the release if they belong to a trained one in the store.
    Otherwise `stated`, a sentence of the release's maker, or unknown.
    """
    if not source.startswith(_FILE):
        return Lineage()
    found = [manifest for manifest in _manifests(store) if manifest.weights.sha256 == sha256]
    trained = [one for one in found if one.recipe is not None or one.weights.source.startswith(_RELEASE)]
    if trained:
        return reduce(or_, (lineage_of(store, one.release_id) for one in trained))
    if any(not one.weights.source.startswith(_FILE) for one in found):
        return Lineage()  # only a projection was fitted for that release
    if stated is not None:
        return Lineage(stated=(f"the weights of {source} were trained on: {stated}",))
    return Lineage(unknown=(f"what the weights of {source} were trained on",))


def parent_lineage(store: ReleaseStore, release_id: str) -> Lineage:
    """The lineage of a parent release; unknown if the parent is missing or damaged."""
    try:
        return lineage_of(store, release_id)
    except (ReleaseNotFound, ReleaseCorrupt, ReleaseOfOtherKind):
        return Lineage(unknown=(f"what {release_id} was fitted on, which is not in the store",))


def _manifests(store: ReleaseStore) -> list[Manifest]:
    found = []
    for release_id in store.ids():
        try:
            found.append(store.manifest(release_id))
        except (ReleaseNotFound, ReleaseCorrupt, ReleaseOfOtherKind):
            continue
    return found


def _parents(manifest: Manifest) -> list[str]:
    """The releases that the weights or the training came from."""
    source = manifest.weights.source
    named = [manifest.parent, source.removeprefix(_RELEASE) if source.startswith(_RELEASE) else None]
    teacher = (manifest.recipe or {}).get("teacher")
    return list(dict.fromkeys(str(one) for one in (*named, teacher) if one is not None))


def _from_parent(store: ReleaseStore, manifest: Manifest, parent: str) -> Lineage:
    """The lineage of a parent. If it is not in the store, a training file may record the same fitted products."""
    if parent in store.ids():
        return parent_lineage(store, parent)
    own = manifest.projection.fitted_on
    found = _json(store.training_file(manifest.release_id, PARENTS_FILE))
    if isinstance(found, dict) and parent in found:
        try:
            if all(FittedOn.model_validate(one) == own for one in found.values()):
                return Lineage()
        except ValidationError as error:
            raise ReleaseCorrupt(f"the {PARENTS_FILE} of release {manifest.release_id!r} is not valid") from error
    return parent_lineage(store, parent)


def _from_training(store: ReleaseStore, manifest: Manifest) -> Lineage:
    """From the split that the training stored with the release, if its train part has the hash in the manifest."""
    fitted = manifest.projection.fitted_on
    recipe = manifest.recipe or {}
    found = Lineage()
    if recipe.get("kind") == "adapt":
        found = found.with_unknown(f"which pictures of {recipe.get('target')} its batch normalisation was adapted to")
    if recipe.get("unlabelled") is not None:
        found = found.with_unknown("which pictures without labels it was trained on")
    ids = _ids_by_part(_json(store.training_file(manifest.release_id, PARTS_FILE)))
    if ids is None or _sha256(ids["train"]) != fitted.ids_sha256:
        return found.with_unknown(f"which {fitted.count:,} products of {fitted.dataset} its projection was fitted on")
    data = recipe.get("data") or {}
    rule = SplitRule(
        attribute=str(data.get("label")),
        seed=fitted.seed,
        group=data.get("group"),
        kind="official" if data.get("split") == "official" else "stratified",
    )
    parts: dict[str, Part] = {one: part for part, listed in ids.items() for one in listed}
    trained = [one for part in ("train", *data.get("train_on", ())) for one in ids.get(part, ())]
    return found.with_split(fitted.dataset, rule, parts).with_products(
        fitted.dataset, fitted=trained, chosen=ids["validation"]
    )


def _ids_by_part(content: object) -> dict[Part, list[str]] | None:
    ids = content.get("ids") if isinstance(content, dict) else None
    if not isinstance(ids, dict):
        return None
    return {part: [str(one) for one in ids.get(part, ())] for part in PARTS}


def _sha256(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def _json(data: bytes | None) -> Any:
    try:
        return None if data is None else json.loads(data)
    except ValueError:
        return None
