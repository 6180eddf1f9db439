"""The unfinished invocations of one client of the test server, with their streams in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._guard.tasks import end_tasks, spawn
from ..messages import Completion, Invocation, StreamInvocation, StreamItem
from .client_streams import ClientStream
from .hub_invocation import HubInvocation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.session import ServerSession
    from .hubs import Hub
    from .settings import ServerSettings

# With so many unfinished invocations of one client, the server stops reading from this client.
_LIMIT = 1000
# After a client has disconnected, its invocations may run for this many seconds, and are then cancelled.
_GRACE = 1.0


@attrs.define(eq=False)
class RunningInvocations:
    """The unfinished invocations of one client, each with its own task. Only for the server's event loop.

    Attributes:
        hub: the hub instance of the client.
        session: encodes the messages to the client.
        settings: the server's settings.
        write: sends encoded messages; waits while the client's buffer is full.
        overrun: called when a hub method has ended and left more items of a client's stream unread than the option
            `stream_buffer` allows.
    """

    _hub: Hub
    _session: ServerSession
    _settings: ServerSettings = attrs.field(kw_only=True)
    _write: Callable[[bytes], Awaitable[None]] = attrs.field(kw_only=True)
    _overrun: Callable[[], None] = attrs.field(kw_only=True)
    _slots: asyncio.Semaphore = attrs.field(init=False)
    _tasks: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)
    _streams_down: dict[str, asyncio.Task[None]] = attrs.field(factory=dict, init=False)
    _streams_up: dict[str, ClientStream] = attrs.field(factory=dict, init=False)
    _has_ended: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self._settings.parallel_invocations)

    def start(self, message: Invocation | StreamInvocation) -> None:
        """Start a task that runs an invocation of the client, or sends an error because the id is already in use."""
        streams = {stream_id: ClientStream() for stream_id in message.stream_ids or ()}
        invocation = HubInvocation(
            message=message,
            streams=list(streams.values()),
            hub=self._hub,
            session=self._session,
            write=self._write,
            detailed=self._settings.detailed_errors,
        )
        is_new = not (isinstance(message, StreamInvocation) and message.invocation_id in self._streams_down)
        if is_new:
            self._streams_up.update(streams)
        in_use = f"Invocation ID '{message.invocation_id}' is already in use."
        work = self._run(invocation, streams) if is_new else invocation.complete(in_use)
        task = spawn(work, f"hub method {message.target:.40}", self._tasks)
        if isinstance(message, StreamInvocation) and is_new:
            self._streams_down[message.invocation_id] = task

    async def _run(self, invocation: HubInvocation, streams: dict[str, ClientStream]) -> None:
        try:
            await invocation.run(self._slots)
        except asyncio.CancelledError:
            if self._has_ended:
                raise
            await invocation.complete()
        finally:
            buffer = self._settings.stream_buffer
            if (
                buffer is not None
                and not self._has_ended
                and any(stream.waiting > buffer for stream in streams.values())
            ):
                self._overrun()
            for stream_id, stream in streams.items():
                stream.end("The call has ended.")
                # A later invocation may have a stream with the same id: do not remove the stream of that invocation.
                if self._streams_up.get(stream_id) is stream:
                    del self._streams_up[stream_id]
            if isinstance(invocation.message, StreamInvocation):
                self._streams_down.pop(invocation.message.invocation_id, None)

    def receive(self, message: StreamItem | Completion) -> None:
        """Pass a stream item or completion of the client to its stream. Drop messages of unknown streams."""
        stream = self._streams_up.get(message.invocation_id)
        if stream is not None:
            stream.receive(message)

    def cancel(self, invocation_id: str) -> None:
        """Cancel a streaming invocation. Other invocations cannot be cancelled, as in ASP.NET Core 10."""
        task = self._streams_down.get(invocation_id)
        if task is not None:
            # Cancel in a callback, which runs after the invocation's task has begun. A task that is cancelled before it
            # has begun runs no code at all, and the client would get no completion.
            asyncio.get_running_loop().call_soon(task.cancel)

    def congestion(self) -> list[asyncio.Future[None]]:
        """Return a list of futures: the server reads from the client again when one of them is done.

        The list is empty if the server may read now.
        """
        if len(self._tasks) >= _LIMIT:
            return list(self._tasks)
        return [stream.room for stream in self._streams_up.values() if not stream.room.done()]

    def end(self) -> None:
        """End all streams, because the client has disconnected.

        Hub methods that stream no items to the client run on until `finish`.
        """
        self._has_ended = True
        for stream in self._streams_up.values():
            stream.end("The connection ended.")
        for task in self._streams_down.values():
            task.cancel()

    def cancel_all(self) -> None:
        """Cancel all invocations if the client has disconnected already. Otherwise do nothing."""
        if self._has_ended:
            for task in self._tasks:
                task.cancel()

    async def finish(self, *, at_once: bool) -> None:
        """Wait until all invocations have ended. Cancel invocations that do not end within a second.

        Args:
            at_once: cancel the invocations now and not after a second, because the server stops.
        """
        await end_tasks(self._tasks, 0.0 if at_once else _GRACE)
