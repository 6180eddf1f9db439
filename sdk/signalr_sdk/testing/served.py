"""One client of a hub, seen from the server: handshake, invocations, streams, keep-alive.

It drives a `ServerSession` over a `Pipe`, whatever transport is at the other end of that. The texts of errors are those
of ASP.NET Core.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from .._core.session import Received, ServerSession
from ..errors import (
    ConnectionClosedError,
    HandshakeError,
    LocalProtocolError,
    RemoteProtocolError,
    ResultTypeError,
    ServerTimeoutError,
)
from ..messages import CancelInvocation, Completion, HubMessage, Invocation, StreamInvocation, StreamItem
from ..options import TransferFormat
from ..protocols.typed_values import default_converter, structure
from .hubs import Hub, HubException, HubMethod, matching, methods_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ..interfaces import HubProtocol
    from .pipe import Pipe
    from .settings import ServerSettings

_logger = logging.getLogger("signalr_sdk.testing")

# Calls of one client, and items of one of its streams, that may wait before nothing more is read.
_CALLS = 1000
_ITEMS = 1000


class InvalidDataException(Exception):  # noqa: N818 - its name on the server
    """What the client sent does not fit."""


class OperationCanceledException(Exception):  # noqa: N818 - its name on the server
    """The client was silent for too long."""


class ServedClient:
    """A client from its handshake to its end.

    Attributes:
        hub: the hub that serves it.
        pipe: its connection.
    """

    def __init__(self, hub: Hub, pipe: Pipe, protocols: Mapping[str, HubProtocol], settings: ServerSettings) -> None:
        self.hub = hub
        self.pipe = pipe
        self._settings = settings
        self._methods = methods_of(type(hub))  # type: ignore[arg-type] # mypy looks at Hub.__hash__, not type.__hash__
        self._loop = asyncio.get_running_loop()
        inherent = pipe.inherent_keep_alive
        self._session = ServerSession(
            protocols,
            self._take,
            message_bytes=settings.message_bytes,
            keep_alive=None if inherent else settings.keep_alive,
            timeout=None if inherent else settings.client_timeout,
            now=self._loop.time(),
        )
        self._slots = asyncio.Semaphore(settings.parallel_invocations)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._streams: set[str] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._questions: set[asyncio.Future[Any]] = set()
        self._uploads: dict[str, _Upload] = {}
        self._first: Received = []
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None

    @property
    def binary(self) -> bool:
        """Whether the client's protocol is binary."""
        return self._session.protocol.transfer_format is TransferFormat.BINARY

    # From the handshake to the end

    async def serve(self, connected: Callable[[], None], disconnected: Callable[[], None]) -> None:
        """Serve the client until it has gone.

        Args:
            connected: called when it may get messages.
            disconnected: called when it may not any more.
        """
        try:
            if await self._shake_hands():
                connected()
                await self._serve(disconnected)
        finally:
            self.pipe.end()

    async def _shake_hands(self) -> bool:
        session = self._session
        try:
            async with asyncio.timeout(self._settings.handshake_timeout):
                while not session.ready:
                    payload = await self.pipe.read()
                    if payload is None:
                        return False
                    self._first = session.receive(payload, self._loop.time())
        except HandshakeError:
            await self.pipe.write(session.reply)
            return False
        except (TimeoutError, ConnectionClosedError) as error:
            _logger.info("no handshake: %s", error)
            return False
        await self.pipe.write(session.reply)
        return True

    async def _serve(self, disconnected: Callable[[], None]) -> None:
        error: Exception | None = None
        try:
            await self.hub.on_connected()
            self._arm()
            await self._receive()
        except Exception as failure:  # noqa: BLE001 - a hub may raise anything; the client is told
            error = failure
            await self._close(failure)
        finally:
            disconnected()
            await self._end()
        try:
            await self.hub.on_disconnected(error)
        except Exception:
            _logger.exception("on_disconnected failed")

    async def _receive(self) -> None:
        session, received = self._session, self._first
        while True:
            for sink, message in received:
                sink(message)
            if isinstance(session.ended, RemoteProtocolError):
                raise InvalidDataException(str(session.ended))
            if session.ended is not None:
                await self.pipe.write(session.close())
                return
            await self._wait_for_room()
            payload = await self.pipe.read()
            if self._error is not None:
                raise self._error
            if payload is None:
                return
            received = session.receive(payload, self._loop.time())

    async def _wait_for_room(self) -> None:
        """Read no more while hub methods are behind."""
        while len(self._calls) + len(self._sends) >= _CALLS:
            await asyncio.wait({*self._calls.values(), *self._sends}, return_when=asyncio.FIRST_COMPLETED)
        for upload in list(self._uploads.values()):
            await upload.wait_for_room()

    async def _close(self, error: Exception) -> None:
        """Tell the client why it is dropped."""
        if isinstance(error, ConnectionClosedError):
            return
        _logger.info("a client is dropped: %r", error)
        text = "Connection closed with an error." + self._told(error)
        allow = isinstance(error, InvalidDataException | OperationCanceledException)
        await self.pipe.write(self._session.close(text, allow_reconnect=allow))

    async def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for upload in self._uploads.values():
            upload.end("The connection ended.")
        for question in self._questions:
            if not question.done():
                question.set_exception(HubException("The client has gone."))
        tasks = {*self._calls.values(), *self._sends}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def abort(self) -> None:
        """End the connection with a Close message, as `Context.Abort()` does."""
        self.pipe.write_now(self._session.close())
        self.pipe.end()

    def _arm(self) -> None:
        deadline = self._session.next_deadline()
        if deadline < math.inf:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        try:
            ping = self._session.on_time(self._loop.time())
        except ServerTimeoutError:
            self._error = OperationCanceledException(
                "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
            )
            self.pipe.stop_reading()
            return
        if ping is not None:
            self.pipe.write_now(ping)
        self._arm()

    # What the hub says

    async def send(self, event: str, *args: Any) -> None:
        """Send an event."""
        await self._write(self._session.send(event, list(args)))

    async def invoke(self, method: str, *args: Any) -> Any:
        """Ask the client, and return its answer."""
        answer: asyncio.Future[Any] = self._loop.create_future()

        def receive(message: Completion) -> None:
            if not answer.done():
                if message.error is not None:
                    answer.set_exception(HubException(message.error))
                else:
                    answer.set_result(message.result)

        name, data = self._session.invoke(method, list(args), receive)
        self._questions.add(answer)
        try:
            await self._write(data)
            return await answer
        finally:
            self._questions.discard(answer)
            self._session.forget(name)

    async def _write(self, data: bytes) -> None:
        self._session.sent(self._loop.time())
        await self.pipe.write(data)

    # What the client says

    def _take(self, message: HubMessage) -> None:
        if isinstance(message, StreamItem | Completion):
            upload = self._uploads.get(message.invocation_id)
            if upload is not None:
                upload.receive(message)
        elif isinstance(message, Invocation | StreamInvocation):
            self._start(message)
        elif isinstance(message, CancelInvocation) and message.invocation_id in self._streams:
            # As ASP.NET Core 10: only streams can be cancelled.
            self._calls[message.invocation_id].cancel()

    def _start(self, message: Invocation | StreamInvocation) -> None:
        uploads = [_Upload() for _ in message.stream_ids or ()]
        self._uploads.update(zip(message.stream_ids or (), uploads, strict=True))
        task = asyncio.create_task(self._run(message, uploads), name=f"hub method {message.target:.40}")
        name = message.invocation_id
        if name is None:
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)
            return
        self._calls[name] = task
        if isinstance(message, StreamInvocation):
            self._streams.add(name)
        task.add_done_callback(lambda _task: self._forget(name))

    def _forget(self, name: str) -> None:
        self._calls.pop(name, None)
        self._streams.discard(name)

    async def _run(self, message: Invocation | StreamInvocation, uploads: list[_Upload]) -> None:
        try:
            completion = await self._call(message, uploads)
        except asyncio.CancelledError:
            completion = Completion(message.invocation_id or "")
        except Exception as error:  # noqa: BLE001 - binding runs code of the hub's types; the client is told
            completion = Completion(message.invocation_id or "", error=self._failure(message.target, error))
        finally:
            for stream_id in message.stream_ids or ():
                self._uploads.pop(stream_id).end("The call has ended.")
        if message.invocation_id is not None:
            await self._answer(message.target, completion)

    async def _answer(self, target: str, completion: Completion) -> None:
        name, session = completion.invocation_id, self._session
        if completion.has_result:
            try:
                data = session.answer(name, completion.result)
            except LocalProtocolError as error:
                data = session.complete(name, self._failure(target, error))
        else:
            data = session.complete(name, completion.error)
        await self._write(data)

    async def _call(self, message: Invocation | StreamInvocation, uploads: list[_Upload]) -> Completion:
        target, name = message.target, message.invocation_id or ""
        method = self._methods.get(matching(target))
        if method is None:
            return Completion(name, error=_refusal(target, HubException("Method does not exist.")))
        streaming = isinstance(message, StreamInvocation)
        if method.streams is not streaming:
            kind, how = ("streaming", "non-streaming") if method.streams else ("non-streaming", "streaming")
            text = f"The client attempted to invoke the {kind} '{target}' method with a {how} invocation."
            return Completion(name, error=text)
        try:
            arguments = self._bind(method, message.arguments, uploads)
        except InvalidDataException as error:
            return Completion(name, error=_refusal(target, error))
        function = getattr(self.hub, method.name)
        if streaming:
            return await self._stream(name, function(*arguments))
        async with self._slots:
            try:
                return Completion(name, await function(*arguments), has_result=True)
            except Exception as error:  # noqa: BLE001 - a hub may raise anything; the client is told
                _logger.info("the hub method '%s' failed: %r", target, error)
                return Completion(name, error=self._failure(target, error))

    async def _stream(self, name: str, items: AsyncIterator[Any]) -> Completion:
        try:
            async for item in items:
                await self._write(self._session.item(name, item))
        except Exception as error:  # noqa: BLE001 - a hub may raise anything; the client is told
            text = "An error occurred on the server while streaming results."
            return Completion(name, error=text + self._told(error))
        finally:
            aclose = getattr(items, "aclose", None)
            if aclose is not None:
                await aclose()
        return Completion(name)

    def _bind(self, method: HubMethod, given: list[Any], uploads: list[_Upload]) -> list[Any]:
        if not method.required <= len(given) <= method.arguments or len(uploads) != method.uploads.count(True):
            raise InvalidDataException(
                f"Invocation provides {len(given) + len(uploads)} argument(s) but target expects "
                f"{len(method.parameters)}."
            )
        plain, streams = iter(given), iter(uploads)
        bound: list[Any] = []
        for wanted, streamed in zip(method.parameters, method.uploads, strict=True):
            if streamed:
                bound.append(next(streams).items(self._convert, wanted))
            elif len(bound) < len(given) + len(uploads):
                bound.append(self._convert(next(plain), wanted))
        return bound

    def _convert(self, value: Any, wanted: Any) -> Any:
        if wanted is Any or wanted is object:
            return value
        try:
            return structure(default_converter(self._session.protocol.naming), value, wanted)
        except ResultTypeError:
            raise InvalidDataException(
                "Error binding arguments. Make sure that the types of the provided values match the types of the hub "
                "method being invoked."
            ) from None

    def _failure(self, target: str, error: Exception) -> str:
        return f"An unexpected error occurred invoking '{target}' on the server." + self._told(error)

    def _told(self, error: Exception) -> str:
        if self._settings.detailed_errors or isinstance(error, HubException):
            return f" {type(error).__name__}: {error}"
        return ""


def _refusal(target: str, error: Exception) -> str:
    return f"Failed to invoke '{target}' due to an error on the server. {type(error).__name__}: {error}"


class _Upload:
    """A client's stream on its way to a hub method."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[StreamItem | str | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    def receive(self, message: StreamItem | Completion) -> None:
        """Take an item or the end."""
        self._queue.put_nowait(message if isinstance(message, StreamItem) else message.error)
        if self._queue.qsize() >= _ITEMS:
            self._room.clear()

    def end(self, error: str) -> None:
        """The stream is cut."""
        self._queue.put_nowait(error)
        self._room.set()

    async def wait_for_room(self) -> None:
        """Return when not too many items wait."""
        await self._room.wait()

    async def items(self, convert: Callable[[Any, Any], Any], wanted: Any) -> AsyncIterator[Any]:
        """Yield the items, as what the method wants."""
        while True:
            message = await self._queue.get()
            if self._queue.qsize() < _ITEMS:
                self._room.set()
            if message is None:
                return
            if isinstance(message, str):
                raise HubException(message)
            yield convert(message.item, wanted)
