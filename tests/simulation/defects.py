"""Deliberate defects of the client, which plays must find: they show that the invariants look at the right things."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from signalr_sdk._connecting.opening import OpenConnection
from signalr_sdk._core.path_watch import PathWatch
from signalr_sdk._core.replay import Replay
from signalr_sdk._core.session import HubSession
from signalr_sdk._core.sse_parser import SseParser
from signalr_sdk._http import aiohttp_client
from signalr_sdk._http.access_tokens import AccessToken
from signalr_sdk._http.aiohttp_exchange import Exchanges
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk._hub.link import HubLink
from signalr_sdk._life import set_up
from signalr_sdk._life.attempts import Attempts
from signalr_sdk._life.connector import Connector
from signalr_sdk._receiving.dispatcher import Dispatcher
from signalr_sdk._receiving.queues import HandlerQueue
from signalr_sdk._receiving.set_up import SetUp
from signalr_sdk._sending.calls import Calls, PendingInvocation
from signalr_sdk._transports.posting import PostingTransport
from signalr_sdk.errors import ConnectionClosedError, ServerTimeoutError
from signalr_sdk.sync.daemon_threads import Worker
from signalr_sdk.sync.dispatcher import ThreadDispatcher

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Callable, Iterator

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

    from signalr_sdk.errors import SignalRError

    from .plays import Kind

_STATEFUL = ("WebSockets-json-stateful", "WebSockets-messagepack-stateful")
_POLLING = ("LongPolling-json", "LongPolling-messagepack")
_POSTING = ("ServerSentEvents-json", *_POLLING)
_THREADS = ("WebSockets-json-threads", "LongPolling-messagepack-threads")


@attrs.frozen
class Defect:
    """A defect.

    Attributes:
        kinds: the kinds of connection that can show the defect, by name; all kinds if empty.
    """

    _make: Callable[[pytest.MonkeyPatch], None]
    kinds: tuple[str, ...] = ()

    def shows_in(self, kind: Kind) -> bool:
        """Return whether plays of this kind can show the defect."""
        return not self.kinds or str(kind) in self.kinds

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


def _repeated_poll(patch: pytest.MonkeyPatch) -> None:
    async def passing(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        return await handler(request)

    patch.setattr(Exchanges, "possible", lambda: False)  # they never repeat a request
    patch.setattr(aiohttp_client, "_exactly_once", passing)


def _token_for_another_origin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AccessToken, "use_from_redirect", lambda _self, _token: None)
    patch.setattr(RequestSender, "_may_have_token", lambda _self, _url: True)


def _handler_called_twice(patch: pytest.MonkeyPatch) -> None:
    events = Dispatcher.events

    def doubled(self: Dispatcher, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        events(self, targets + targets[-1:], arguments + arguments[-1:], sizes + sizes[-1:])

    patch.setattr(Dispatcher, "events", doubled)


def _gives_up(patch: pytest.MonkeyPatch) -> None:
    delay = Attempts.delay
    patch.setattr(Attempts, "delay", lambda self, error: delay(self, error) if self.count < 2 else None)


def _repeated_messages_are_new(patch: pytest.MonkeyPatch) -> None:
    expect = Replay.expect

    def trusting(self: Replay, number: int, now: float) -> None:
        expect(self, number, now)
        self.duplicates = 0

    patch.setattr(Replay, "expect", trusting)


def _id_used_twice(patch: pytest.MonkeyPatch) -> None:
    new_id = HubSession.new_id

    def repeating(self: HubSession) -> str:
        if self._last_id % 16 == 15:
            self._last_id -= 1
        return new_id(self)

    patch.setattr(HubSession, "new_id", repeating)


def _connection_left_open(patch: pytest.MonkeyPatch) -> None:
    left: list[OpenConnection] = []

    async def keep(self: OpenConnection) -> None:
        left.append(self)

    patch.setattr(OpenConnection, "drop", keep)


def _event_half_read(patch: pytest.MonkeyPatch) -> None:
    feed = SseParser.feed

    def forgetful(self: SseParser, chunk: bytes) -> list[bytes]:
        self._line.clear()
        return feed(self, chunk)

    patch.setattr(SseParser, "feed", forgetful)


def _post_repeated(patch: pytest.MonkeyPatch) -> None:
    send = PostingTransport.send

    async def repeating(self: PostingTransport, data: bytes, /) -> None:
        try:
            await send(self, data)
        except ConnectionClosedError:
            await send(self, data)

    patch.setattr(PostingTransport, "send", repeating)


def _silence_not_noticed(patch: pytest.MonkeyPatch) -> None:
    on_time = HubSession.on_time

    def patient(self: HubSession, now: float) -> bytes:
        try:
            return on_time(self, now)
        except ServerTimeoutError:
            self._last_received = now
            return b""

    patch.setattr(HubSession, "on_time", patient)

    def blind(self: PathWatch, _samples: object, _now: float) -> bool:
        self.deadline = math.inf
        return False

    patch.setattr(PathWatch, "look", blind)


def _timer_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HubLink, "_stop_timers", lambda _self: None)


def _loss_not_told(patch: pytest.MonkeyPatch) -> None:
    push = Dispatcher.push_lifecycle

    def forgetful(self: Dispatcher, name: str, *arguments: Any) -> None:
        if name != "reconnecting":
            push(self, name, *arguments)

    patch.setattr(Dispatcher, "push_lifecycle", forgetful)


def _lost_message_counts_as_sent(patch: pytest.MonkeyPatch) -> None:
    send_now = Calls.send_now

    def silent(self: Calls, method: str, arguments: list[Any]) -> bool:
        is_lost = method == "Record" and arguments[0].endswith("0")
        return is_lost or send_now(self, method, arguments)

    patch.setattr(Calls, "send_now", silent)


def _upload_not_stopped(patch: pytest.MonkeyPatch) -> None:
    end = Calls.end

    def careless(self: Calls, error: SignalRError) -> None:
        self._uploads.clear()
        end(self, error)

    patch.setattr(Calls, "end", careless)


def _close_taken_as_final(patch: pytest.MonkeyPatch) -> None:
    receive = HubSession.receive

    def strict(self: HubSession, payload: bytes, now: float) -> Any:
        deliveries = receive(self, payload, now)
        if self.ended is not None and hasattr(self.ended, "allow_reconnect"):
            self.ended.allow_reconnect = False
        return deliveries

    patch.setattr(HubSession, "receive", strict)


def _worker_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "end", lambda _self: None)


def _end_of_batch_lost(patch: pytest.MonkeyPatch) -> None:
    handle = ThreadDispatcher._handle

    def hasty(self: ThreadDispatcher, batch: deque[Any]) -> None:
        if len(batch) > 20:
            batch.pop()
        handle(self, batch)

    patch.setattr(ThreadDispatcher, "_handle", hasty)


def _held_events_out_of_order(patch: pytest.MonkeyPatch) -> None:
    take = SetUp.take
    patch.setattr(SetUp, "take", lambda self: take(self)[::-1])


def _held_events_lost(patch: pytest.MonkeyPatch) -> None:
    take = SetUp.take
    patch.setattr(SetUp, "take", lambda self: take(self)[:0])


def _others_during_set_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "in_set_up", property(lambda self: self.set_up is not None))


def _hurry_lost(patch: pytest.MonkeyPatch) -> None:
    sleep = Connector.sleep

    async def forgetful(self: Connector[Any], delay: float) -> None:
        self._hurry.clear()
        await sleep(self, delay)

    patch.setattr(Connector, "sleep", forgetful)


def _set_up_goes_on(patch: pytest.MonkeyPatch) -> None:
    async def careless(task: asyncio.Task[Any], *_args: Any, **_options: Any) -> None:
        task.add_done_callback(lambda task: task.cancelled() or task.exception())

    patch.setattr(set_up, "cut_off", careless)


DEFECTS = {
    "doubled resend": Defect(_doubled_resend, _STATEFUL),
    "lost ack": Defect(_lost_ack, _STATEFUL),
    "future never ends": Defect(_future_never_ends),
    "event out of order": Defect(_out_of_order),
    "timer not re-armed": Defect(_timer_not_rearmed),
    "poll repeated by the HTTP library": Defect(_repeated_poll, _POLLING),
    "token shown to another origin": Defect(_token_for_another_origin),
    "handler called twice": Defect(_handler_called_twice),
    "gives up after two attempts": Defect(_gives_up),
    "messages that come again after a resume are new": Defect(_repeated_messages_are_new, _STATEFUL),
    "id used twice": Defect(_id_used_twice),
    "connection left open": Defect(_connection_left_open),
    "event half read": Defect(_event_half_read, _POSTING[:1]),
    "POST repeated": Defect(_post_repeated, _POSTING),
    "silence not noticed": Defect(_silence_not_noticed),
    "timer left behind": Defect(_timer_left),
    "loss not told": Defect(_loss_not_told),
    "lost message counts as sent": Defect(_lost_message_counts_as_sent),
    "upload goes on after the end": Defect(_upload_not_stopped),
    "Close taken as final": Defect(_close_taken_as_final),
    "events of a set-up out of order": Defect(_held_events_out_of_order),
    "events of a set-up lost": Defect(_held_events_lost),
    "calls of others during a set-up": Defect(_others_during_set_up),
    "hurry lost before a wait": Defect(_hurry_lost),
    "set-up goes on after its end": Defect(_set_up_goes_on),
    "worker thread left behind": Defect(_worker_left, _THREADS),
    "end of a batch lost": Defect(_end_of_batch_lost, _THREADS),
}
