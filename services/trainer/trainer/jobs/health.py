"""The `health` job: look for the faults of a served collection and write the report of `trainer.health`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from qdrant_client import QdrantClient

from trainer.data.extraction import extraction_batch
from trainer.health.attributes import AttributeTally
from trainer.health.collection import ScannedCollection, read_payloads, scan_collection
from trainer.health.document import (
    HEALTH_FILE,
    Health,
    Judged,
    confidence_of,
    health_document,
    health_summary,
    rows_shown,
)
from trainer.health.duplicates import Duplicates, find_duplicates
from trainer.health.labels import LEAST_PRODUCTS, Suspects, find_suspects, suspicion
from trainer.health.outliers import find_outliers
from trainer.health.pictures import StoredPictures
from trainer.health.signatures import Oddity, Signature, signature
from trainer.jobs.job import Job
from vitrine.atomic_write import write_json
from vitrine.errors import CollectionNotFound, ParameterInvalid, ReleaseNotFound
from vitrine.jobs.params.evaluation import HealthParams
from vitrine.products import AttributeKind
from vitrine.qdrant.aliases import choose_serving, servings
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.errors import qdrant_errors
from vitrine.qdrant.schema import CollectionInfo
from vitrine.vision.classifier import LabelClassifier
from vitrine.vision.extract import extract
from vitrine.vision.network import load_release
from vitrine.vision.preprocess import Preprocessor

DEFAULT_LABEL: Final = "articleType"
_RETRIEVED: Final = 1_024
# Suspects that the classifier looks at, for each that is listed.
_CLASSIFIED: Final = 3


class HealthJob(Job[HealthParams]):
    Params = HealthParams

    def work(self) -> dict[str, Any]:
        params, progress, settings = self.params, self.progress, self.settings
        client = open_qdrant(
            settings.qdrant_url,
            api_key=settings.qdrant_api_key,
            timeout_s=settings.qdrant_timeout_s,
            grpc_port=settings.qdrant_grpc_port,
        )
        with closing(client):
            info = _serving_collection(client, params.dataset, params.model)
            kinds = info.kinds
            label = _label_of(params.label, kinds)
            if label is None:
                progress.note(f"no labels are judged: the dataset has no keyword {DEFAULT_LABEL!r}; name another one")
            self._client, self._info = client, info
            self._pictures = StoredPictures(info.metadata.root, settings)
            progress.phase("finding neighbours")
            tally = AttributeTally(kinds)
            scan = scan_collection(client, info.name, label=label, tally=tally, progress=progress, total=info.points)
            progress.phase("comparing pictures")
            duplicates = find_duplicates(scan, lambda rows: self._signatures(scan, rows))
            progress.phase("judging labels")
            variants = np.unique(scan.variants, return_inverse=True)[1].astype(np.int64)
            variants[scan.variants == 0] = -1
            suspects = find_suspects(scan.labels, scan.neighbours, scan.scores, (duplicates.of_row, variants))
            judged = self._judged(scan, suspects)
            outliers = find_outliers(scan.scores)
            progress.phase("reading outliers")
            oddities = self._oddities(scan, duplicates, outliers.rows[: params.most].tolist())
            health = Health(scan, label, suspects, judged, duplicates, outliers, oddities, tally.health())
            progress.phase("writing the report")
            payloads = self._payloads(scan, rows_shown(health, params.most))
        metadata = info.metadata
        document = health_document(
            health,
            payloads,
            most=params.most,
            head={
                "title": f"Health of {metadata.dataset}",
                "dataset": metadata.dataset,
                "model": metadata.model,
                "release_id": metadata.release_id,
                "collection": info.name,
                "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            kinds=list(kinds),
        )
        path = settings.reports_dir / progress.job_id / HEALTH_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, document)
        return {"report": str(path), **health_summary(document)}

    def _payloads(self, scan: ScannedCollection, rows: Sequence[int]) -> dict[str, Mapping[str, Any]]:
        ids = [scan.ids[row] for row in rows]
        return read_payloads(self._client, self._info.name, self._info.metadata.dataset, ids)

    def _signatures(self, scan: ScannedCollection, rows: Sequence[int]) -> list[Signature | None]:
        """The signature of each product's first picture, None if it cannot be read."""
        limits = self.settings.image_limits
        found: list[Signature | None] = []
        for part in _parts(rows):
            payloads = self._payloads(scan, part)
            known = [payloads.get(scan.ids[row], {}) for row in part]
            found += self._pictures.each(known, lambda data: signature(data, limits))
            self.progress.progress(len(found), len(rows), eta_s=None, phase="comparing pictures")
        return found

    def _oddities(self, scan: ScannedCollection, duplicates: Duplicates, outliers: Sequence[int]) -> dict[int, Oddity]:
        """Blank and greyscale pictures: of the outliers, and of the duplicates that were read."""
        found = dict(duplicates.oddities)
        unread = [row for row in outliers if row not in found]
        for row, one in zip(unread, self._signatures(scan, unread), strict=True):
            if one is not None and one.oddity is not None:
                found[row] = one.oddity
        return found

    def _judged(self, scan: ScannedCollection, suspects: Suspects) -> list[Judged]:
        """The suspects, those of the highest confidence first. The classifier looks at the first few."""
        classified = self._classified(scan, suspects.rows[: _CLASSIFIED * self.params.most].tolist())
        names = scan.label_names
        judged = []
        for row, given, suggested, confidence in zip(
            suspects.rows.tolist(), suspects.given, suspects.suggested, suspects.confidence.tolist(), strict=True
        ):
            shares = classified.get(row, {})
            # A classifier that does not know both labels says nothing about the choice.
            known = {names[given], names[suggested]} <= shares.keys()
            pair = (np.array([shares[names[given]]]), np.array([shares[names[suggested]]])) if known else None
            probability = None if pair is None else float(suspicion(*pair)[0])
            judged.append(
                Judged(
                    row, names[given], names[suggested], confidence_of(confidence, probability), confidence, probability
                )
            )
        return sorted(judged, key=lambda one: -one.confidence)

    def _classified(self, scan: ScannedCollection, rows: Sequence[int]) -> dict[int, dict[str, float]]:
        """The probability of each label for the first picture of products, by the release's classifier.

        Empty if the release is not stored any more, has no classifier, or one for another attribute.
        """
        release_id = self._info.metadata.release_id
        if not rows:
            return {}
        try:
            manifest = self.releases.manifest(release_id)
        except ReleaseNotFound:
            self.progress.note(f"the release {release_id} is not stored: labels are judged by their neighbours only")
            return {}
        folder = self.releases.local_folder(release_id)
        classifier = LabelClassifier.load(folder, manifest)
        counts = np.bincount(scan.labels[scan.labels >= 0], minlength=len(scan.label_names))
        usual = {name for name, count in zip(scan.label_names, counts, strict=True) if count >= LEAST_PRODUCTS}
        if classifier is None or not usual & set(classifier.labels):
            self.progress.note("the release has no classifier for this attribute: the neighbours judge alone")
            return {}
        self.progress.phase("classifying suspects")
        network = load_release(folder, manifest, self.device)
        preprocessor = Preprocessor(manifest.preprocessing, limits=self.settings.image_limits)
        payloads = self._payloads(scan, rows)
        wanted = [row for row in rows if scan.ids[row] in payloads]
        reads = ((str(row), lambda row=row: self._pictures.read(payloads[scan.ids[row]])) for row in wanted)
        found: dict[int, dict[str, float]] = {}
        for batch in extract(reads, network, preprocessor, batch=extraction_batch(self.settings, self.device)):
            for row, feature in zip(batch.ids, batch.rows, strict=True):
                shares = classifier.probabilities(feature).tolist()
                found[int(row)] = dict(zip(classifier.labels, shares, strict=True))
            self.progress.progress(len(found), len(wanted), eta_s=None, phase="classifying suspects")
        return found


def _serving_collection(client: QdrantClient, dataset: str, model: str | None) -> CollectionInfo:
    """The collection that serves a dataset and model. Raises ModelUnknown, VectorStoreUnavailable."""
    with qdrant_errors():
        serving = choose_serving(servings(client.get_aliases().aliases), dataset, model)
    with qdrant_errors(serving.collection):
        info = CollectionInfo.parse(serving.collection, client.get_collection(serving.collection))
    if info is None:
        raise CollectionNotFound(f"Vitrine did not make the collection {serving.collection!r}")
    return info


def _label_of(label: str | None, kinds: Mapping[str, AttributeKind]) -> str | None:
    """The attribute whose values are judged: the default one may be missing. Raises ParameterInvalid unless each
    product has one keyword in it.
    """
    if label is None:
        return DEFAULT_LABEL if kinds.get(DEFAULT_LABEL) is AttributeKind.KEYWORD else None
    kind = kinds.get(label)
    if kind is AttributeKind.KEYWORD:
        return label
    usable = ", ".join(sorted(name for name, one in kinds.items() if one is AttributeKind.KEYWORD)) or "none"
    what = "has no attribute" if kind is None else f"has as {kind.value} the attribute"
    raise ParameterInvalid(f"the dataset {what} {label[:80]!r}: labels are keywords, here {usable}")


def _parts(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), _RETRIEVED):
        yield rows[start : start + _RETRIEVED]
