"""Deliberate defects of the client, which plays must find: they show that the invariants look at the right things."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from signalr_sdk._core.replay import Replay
from signalr_sdk._core.session import HubSession
from signalr_sdk._hub.link import HubLink
from signalr_sdk._receiving.queues import HandlerQueue
from signalr_sdk._sending.calls import PendingInvocation
from signalr_sdk.errors import ConnectionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STATEFUL = ("WebSockets-json-stateful", "WebSockets-messagepack-stateful")


@attrs.frozen
class Defect:
    """A defect.

    Attributes:
        kinds: the kinds of connection that can show the defect, by name; all kinds if empty.
    """

    _make: Callable[[pytest.MonkeyPatch], None]
    kinds: tuple[str, ...] = ()

    @contextmanager
    def made(self) -> Iterator[None]:
        """Let the client have the defect while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            self._make(patch)
            yield


def _doubled_resend(patch: pytest.MonkeyPatch) -> None:
    repeat = Replay.repeat

    def doubled(self: Replay, sequence: Callable[[int], bytes], filler: bytes) -> list[bytes]:
        messages = repeat(self, sequence, filler)
        return [*messages, *messages[-1:]] if self.kept else messages

    patch.setattr(Replay, "repeat", doubled)


def _lost_ack(patch: pytest.MonkeyPatch) -> None:
    def without_ack(self: HubSession, now: float) -> bytes:
        if self.replay is not None and now >= self.replay.ack_at:
            self.replay.next_ack()
        return b""

    patch.setattr(HubSession, "acknowledge", without_ack)


def _future_never_ends(patch: pytest.MonkeyPatch) -> None:
    fail = PendingInvocation.fail

    def forgetful(self: PendingInvocation, error: Exception) -> None:
        if not (isinstance(error, ConnectionClosedError) and self.method == "Echo"):
            fail(self, error)

    patch.setattr(PendingInvocation, "fail", forgetful)


def _out_of_order(patch: pytest.MonkeyPatch) -> None:
    put_all = HandlerQueue.put_all

    def reversed_put_all(self: HandlerQueue, messages: Any, sizes: list[int]) -> None:
        put_all(self, [*messages][::-1], sizes[::-1])

    patch.setattr(HandlerQueue, "put_all", reversed_put_all)


def _timer_not_rearmed(patch: pytest.MonkeyPatch) -> None:
    on_time, set_timer = HubLink._on_time, HubLink._set_timer

    def once(self: HubLink) -> None:
        patch.setattr(HubLink, "_set_timer", lambda _self: None)
        try:
            on_time(self)
        finally:
            patch.setattr(HubLink, "_set_timer", set_timer)

    patch.setattr(HubLink, "_on_time", once)


DEFECTS = {
    "doubled resend": Defect(_doubled_resend, _STATEFUL),
    "lost ack": Defect(_lost_ack, _STATEFUL),
    "future never ends": Defect(_future_never_ends),
    "event out of order": Defect(_out_of_order),
    "timer not re-armed": Defect(_timer_not_rearmed),
}
