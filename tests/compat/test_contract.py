"""Each family against its own OpenAPI document: no request meets an error of the server's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.api.options import ApiOptions
from acestep_flows.compat.spoken import families
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened
from tests.compat.songs import root_of

EXAMPLES = 12
EXPECTED = (501, 503, 504)
"""Answers above 499 that tell a client what is so: not served here, overloaded, the song takes longer."""


@pytest.fixture(scope="module")
def busy(nano: Checkpoint, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that lets requests wait for a moment only."""
    options = ApiOptions(speak=families(), render_seconds=0.2, queued=500)
    with opened(tmp_path_factory.mktemp("busy"), nano, options=options, model_card=lambda: card) as door:
        yield door


@pytest.mark.parametrize("family", families())
def test_no_request_meets_an_error_of_the_servers_own(busy: Door, family: str) -> None:
    document = schemathesis.openapi.from_url(f"{root_of(busy, family)}/openapi.json")
    operations: list[Any] = [result.ok() for result in document.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) >= 2
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            try_out(operation, mode)
            busy.cancel_all()


def try_out(operation: Any, mode: schemathesis.GenerationMode) -> None:
    """Send requests of one operation."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def requests(case: Any) -> None:
        response = case.call()
        assert response.status_code < 500 or response.status_code in EXPECTED, response.text

    # An operation without parameters has no invalid requests.
    expected_errors = [Unsatisfiable] if mode is schemathesis.GenerationMode.NEGATIVE else []
    with contextlib.suppress(*expected_errors):
        requests()
