"""Short plays of classic SignalR over each transport, and the promise that a seed repeats a play."""

from __future__ import annotations

import pytest

from signalr_sdk import Transport

from .classic_play import ClassicPlay

FAULTS = 12
pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("seed", [2, 3])
def test_a_play(transport: Transport, seed: int) -> None:
    play = ClassicPlay(seed, transport, FAULTS)
    play.run()
    assert min(play.counts[name] for name in ("numbers", "results", "losses", "connections")) > 0


def test_a_seed_gives_the_same_play() -> None:
    plays = [ClassicPlay(5, Transport.WEBSOCKETS, 4) for _ in range(2)]
    assert plays[0].run() == plays[1].run()
