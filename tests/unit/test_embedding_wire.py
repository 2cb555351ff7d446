"""The wire format of the vectors of one picture."""

from __future__ import annotations

import numpy as np
import pytest

from vitrine.embedding.wire import (
    Prediction,
    decode_batch,
    decode_familiar,
    decode_predicted,
    decode_views,
    encode_batch,
    encode_familiar,
    encode_predicted,
    encode_views,
    mean_of,
)
from vitrine.errors import EmbedderUnavailable, EmbeddingFailed, ImageRejected


def rows(*values: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_the_mean_of_vectors_has_length_one() -> None:
    np.testing.assert_allclose(mean_of(rows([1.0, 0.0], [0.0, 1.0])), [0.5**0.5, 0.5**0.5], rtol=1e-6)
    assert mean_of(rows([1.0, 0.0], [-1.0, 0.0])).tolist() == [1.0, 0.0], "where the mean is zero, the first"


def test_views_of_two_releases_are_returned_with_their_means() -> None:
    first, second = rows([1.0, 0.0], [0.0, 1.0]), rows([0.6, 0.8, 0.0])
    body, shapes = encode_views([first, second])
    assert shapes == "3x2,1x3"
    (mean, views), (vector, alone) = decode_views(body, shapes)
    np.testing.assert_array_equal(views, first)
    np.testing.assert_array_equal(mean, mean_of(first))
    np.testing.assert_array_equal(vector, second[0])
    np.testing.assert_array_equal(alone, second)


@pytest.mark.parametrize("shapes", ["", "1x3,", "0x2", "2x2", "1x9", "-1x2", "1x2,1x2"])
def test_an_answer_of_another_shape_is_refused(shapes: str) -> None:
    with pytest.raises(EmbedderUnavailable):
        decode_views(rows([1.0, 0.0]).tobytes(), shapes)


def test_the_in_distribution_flag_is_returned_for_each_release() -> None:
    assert decode_familiar(encode_familiar([True, None, False]), count=3) == [True, None, False]
    assert decode_familiar("", count=2) == [None, None]


def test_predicted_labels_with_any_characters_are_sent_in_a_header() -> None:
    predicted = (Prediction("Robe d'été", 0.5), Prediction('Kurta "Ω" \x7f\n\u202e👗', 0.25), Prediction("", 0.0))
    header = encode_predicted(predicted)
    assert header.isascii()
    assert header.isprintable()
    assert decode_predicted(header) == predicted
    assert decode_predicted("") == ()
    assert decode_predicted(encode_predicted(())) == ()


def test_a_header_of_predicted_labels_is_bounded_and_keeps_the_most_likely() -> None:
    predicted = [Prediction(f"{number} " + "é" * 100, 1 / 20) for number in range(20)]
    header = encode_predicted(predicted)
    assert len(header) <= 4096
    found = decode_predicted(header)
    assert 1 <= len(found) < 20
    assert list(found) == predicted[: len(found)]
    assert decode_predicted(encode_predicted([Prediction("x" * 5000, 1.0)])) == ()


@pytest.mark.parametrize("header", ["Dresses", "[1]", '{"a": 1}', '[["a"]]', '[["a", "b"]]', "[[1, 2, 3]]", "[", "7"])
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises(EmbedderUnavailable):
        decode_predicted(header)


def test_a_batch_says_why_a_picture_was_rejected() -> None:
    why = "the file is HTML, which is not read; send a JPEG: é, 100 %"
    body, header = encode_batch(
        [rows([1.0, 0.0])[0], ImageRejected("format_unsupported", why), EmbeddingFailed("")], dim=2
    )
    assert header.isascii()
    vector, refused, failed = decode_batch(body, header, count=3)
    np.testing.assert_array_equal(vector, [1.0, 0.0])
    assert isinstance(refused, ImageRejected)
    assert (refused.code, refused.detail) == ("image_format_unsupported", why)
    assert isinstance(failed, EmbeddingFailed)


def test_the_header_of_a_batch_stays_small() -> None:
    errors = [ImageRejected("corrupt", f"{number}: " + "é" * 190) for number in range(256)]
    body, header = encode_batch(errors, dim=1)
    assert len(header) < 32_000
    results = decode_batch(body, header, count=256)
    assert all(isinstance(one, ImageRejected) and one.code == "image_corrupt" for one in results)
