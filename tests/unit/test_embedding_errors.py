"""How the client handles refusals of an embedder."""

from __future__ import annotations

import pytest

from vitrine.embedding.errors import error_of_answer
from vitrine.errors import (
    Draining,
    EmbedderBusyWithHeavyWork,
    EmbedderOverloaded,
    EmbedderUnavailable,
    VitrineError,
)


@pytest.mark.parametrize(
    ("refusal", "understood"),
    [
        (Draining("stopping", retry_after_s=3.0), EmbedderUnavailable),
        (EmbedderUnavailable("restarting", retry_after_s=3.0), EmbedderUnavailable),
        (EmbedderOverloaded("full", retry_after_s=3.0), EmbedderOverloaded),
        (EmbedderBusyWithHeavyWork("full of heavy calls", retry_after_s=3.0), EmbedderBusyWithHeavyWork),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_a_stopping_embedder_is_retried_and_an_overloaded_one_is_not(
    refusal: VitrineError, understood: type[VitrineError]
) -> None:
    error = error_of_answer(503, {"retry-after": "3"}, refusal.problem())
    assert type(error) is understood
    assert (error.detail, error.retry_after_s) == (refusal.detail, 3.0)


def test_a_refusal_by_a_balancer_counts_as_a_full_embedder() -> None:
    error = error_of_answer(503, {}, None)
    assert type(error) is EmbedderOverloaded
    assert error.retry_after_s == 1.0
