"""Short plays of classic SignalR over each transport, and the promise that a seed repeats a play."""

from __future__ import annotations

import pytest

from signalr_sdk import Transport
from signalr_sdk.classic.session import ClassicSession

from .classic_play import BrokenPromiseError, ClassicPlay

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


def _never(_session: object) -> None:
    """Return nothing, whatever was noted."""


def _forget(_session: object, _value: object) -> None:
    """Note nothing."""


def _previous(session: object) -> str | None:
    noted: list[str | None] = vars(session).get("noted", [])
    return noted[-2] if len(noted) > 1 else None


def _note(session: object, value: str | None) -> None:
    vars(session).setdefault("noted", []).append(value)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cursor", property(_never, _forget)),
        ("cursor", property(_previous, _note)),
        ("groups_token", property(_never, _forget)),
    ],
    ids=["no cursor", "the cursor before", "no groups token"],
)
def test_a_play_finds_a_client_that_loses_its_place(monkeypatch: pytest.MonkeyPatch, name: str, kept: property) -> None:
    monkeypatch.setattr(ClassicSession, name, kept, raising=False)
    with pytest.raises((BrokenPromiseError, TimeoutError)):
        ClassicPlay(2, Transport.WEBSOCKETS, FAULTS).run()
