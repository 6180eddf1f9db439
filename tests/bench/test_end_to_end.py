"""The program that measures end to end does measure, and what leaves together is joined."""

from __future__ import annotations

import pytest
from tests.bench import end_to_end
from tests.bench.measuring import settled
from tests.interop.hub_server import ServerMissingError

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
@pytest.mark.parametrize("server", ["python", "aspnetcore"])
def test_what_is_sent_costs_less_than_a_write_for_each(server: str, protocol: str) -> None:
    """A fifth of what raw aiohttp takes was measured, which writes each."""
    calls = end_to_end.calls_of(server)

    def measure() -> float:
        raw, ours = (end_to_end.measure(client, url, protocol, 2000, calls) for client in ("raw", "ours"))
        assert len(raw) == len(ours) == 7
        return max(ours[name] / raw[name] for name in ("send", "stream up"))

    try:
        with end_to_end.served(server) as url:
            assert settled(measure, 1.0) <= 1.0
    except ServerMissingError as missing:
        pytest.skip(str(missing))
