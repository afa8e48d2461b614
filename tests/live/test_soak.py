"""A short form of benchmarks/soak.py (`make test-load`). The half-hour form (`make soak`) stores its result."""

from __future__ import annotations

import pytest

from benchmarks import soak
from tests.support.live_server import served

pytestmark = pytest.mark.live


@pytest.mark.slow
def test_overload_gets_prompt_503_and_leaves_no_state():
    """Four slots, so that a few seconds are enough to fill the server."""
    images = soak.encoded((0.2, 0.3, 0.4))
    with served(slots="4") as server:
        result = soak.soak(
            server, images, (1, 1, 1), 8, factor=3, measure_s=2, measure_clients=4, every_s=0.5, clients=60
        )
    assert set(result["answers"]) == {"200", "503"}
    assert result["refusals"]["count"] == result["answers"]["503"] > 0
    assert result["refusals"]["without_retry_after"] == 0
    for held in ("descriptors", "threads"):
        before, after = result["at_rest"][held]
        assert after <= before, held
