"""The wire format of the garments of one picture."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from vitrine.embedding.found_garments import (
    FoundGarment,
    RegionsFound,
    annotation,
    embedded_garments_of,
    encode_garments,
    garments_text,
    regions_of,
)
from vitrine.embedding.wire import Prediction
from vitrine.errors import EmbedderUnavailable
from vitrine.images.regions import Region

TRIANGLE = ((0.25, 0.5), (0.75, 0.5), (0.5, 1.0))
DRESS = FoundGarment(1, "dress", "Dress", 0.93, Region(0.25, 0.5, 0.5, 0.5), (TRIANGLE,), 0.2, True)
BAG = FoundGarment(2, "bag", "Bag", 0.5, Region(0.0, 0.0, 0.125, 0.25), (TRIANGLE[::-1], TRIANGLE), 0.01, True)
FOUND = RegionsFound("parser-0123456789", 480, 640, (DRESS, BAG), {"decode": 4.5})
TIMING = {"Server-Timing": "decode;dur=4.500"}


def test_garments_survive_the_way_to_the_client() -> None:
    answer = httpx.Response(200, content=json.dumps(FOUND.document()), headers=TIMING)
    assert regions_of(answer) == FOUND


def test_garments_and_their_vectors_are_one_answer() -> None:
    views = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    labels = (Prediction("Robe d'été", 0.5), Prediction("👗", 0.25))
    body, headers = encode_garments(FOUND, [views, views[:1]], [annotation(True, labels), annotation(None, ())])
    regions, (dress, bag) = embedded_garments_of(httpx.Response(200, content=body, headers={**headers, **TIMING}))
    assert regions == FOUND
    np.testing.assert_array_equal(dress.views, views)
    np.testing.assert_allclose(dress.vector, [0.5**0.5, 0.5**0.5], rtol=1e-6)
    np.testing.assert_array_equal(bag.vector, views[0])
    assert [dress.familiar, bag.familiar] == [True, None]
    assert [dress.predicted, bag.predicted] == [labels, ()]
    assert dress.timings_ms == {"decode": 4.5}


def test_a_picture_without_garments_has_no_vectors() -> None:
    empty = RegionsFound("parser-0123456789", 48, 64, (), {})
    body, headers = encode_garments(empty, [], [])
    assert embedded_garments_of(httpx.Response(200, content=body, headers=headers)) == (empty, ())


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"[" * 100_000, b'{"release":"a","width":"wide","height":1,"garments":[]}', b"\xff"],
    ids=["empty", "list", "object", "deep", "wrong type", "not text"],
)
def test_an_answer_that_is_no_garments_is_refused(content: bytes) -> None:
    with pytest.raises(EmbedderUnavailable):
        regions_of(httpx.Response(200, content=content))


@pytest.mark.parametrize(
    "headers", [{}, {"Vitrine-Garments": "-1"}, {"Vitrine-Garments": "9" * 30}, {"Vitrine-Garments": "3"}]
)
def test_vectors_without_their_garments_are_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(EmbedderUnavailable):
        embedded_garments_of(httpx.Response(200, content=b"{}\0\0", headers=headers))


def test_garments_are_named_by_number_or_all() -> None:
    assert garments_text(None) == "all"
    assert garments_text((3, 1)) == "3,1"
