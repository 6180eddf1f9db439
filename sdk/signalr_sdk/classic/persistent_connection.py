"""`PersistentConnection`: raw connections of classic SignalR, without hubs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from .._hub.event_methods import mark_of
from ..errors import ConnectionClosedError, LocalProtocolError, NotConnectedError
from ..interfaces import Converter, Handler, HttpClient, RetryPolicy, TokenProvider
from ..options import ConnectionState, Limits, Timeouts
from .connection import ClassicConnection, checked_ping, options_of
from .json_codec import ClassicJson
from .link import ClassicLink, open_link
from .session import RAW, ClassicSession, RawMessages
from .transports import MESSAGE_END

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    import aiohttp
    import httpx

    from .._connecting.options import ConnectionOptions
    from .._life.attempts import Attempts
    from .._receiving.dispatcher import Dispatcher
    from .._receiving.iterators import Messages
    from ..protocols.values import NamingChoice
    from .channels import Channel

H = TypeVar("H", bound=Handler)


class _Unanswered:
    """The `Answered` of raw data: a server answers to a POST with nothing of interest."""

    def posted(self, _body: bytes, /) -> None:
        """See `Answered.posted`."""

    def fail(self, _error: Exception, /) -> None:
        """See `Answered.fail`."""


@attrs.define(eq=False)
class _RawData:
    """Sends the data of one connection. Implements `Outgoing` of `ClassicLink`."""

    channel: Channel

    async def send(self, record: bytes) -> None:
        """Send data, which ends with `MESSAGE_END`."""
        await self.channel.send(record, _Unanswered())

    def end(self, _error: Exception) -> None:
        """Do nothing: nobody waits for an answer."""


async def _open(
    options: ConnectionOptions, json: ClassicJson, ping: float | None, dispatcher: Dispatcher, attempts: Attempts
) -> ClassicLink[_RawData]:
    session = ClassicSession(RawMessages(dispatcher), json)
    return await open_link(
        options, (), session, _RawData, json=json, ping=ping, dispatcher=dispatcher, attempts=attempts
    )


class PersistentConnection(ClassicConnection[_RawData]):
    """A raw connection to a server of classic ASP.NET SignalR, for endpoints of `MapSignalR<T>("/raw")`.

    Options, lifecycle and reconnecting are those of `HubConnection`; there are no hubs. Each message is any JSON value.

    Args:
        url: the http(s) URL of the endpoint (ws(s) means the same). Its query is part of every request.
        transports: as for `HubConnection`, like all other arguments.

    Example:
        ```python
        async with PersistentConnection("https://example.com/raw") as connection:
            await connection.send("hello")
            print(await connection.receive())
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        transports: str | Iterable[str] | None = None,
        access_token: str | TokenProvider | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
        converter: Converter | None = None,
        naming: NamingChoice = "pascal",
        reconnect: RetryPolicy | bool | None = True,
        retry_start: RetryPolicy | bool | None = False,
        ping: float | None = None,
        handler_errors: Literal["report", "raise"] = "report",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - the default value is immutable
        limits: Limits = Limits(),  # noqa: B008 - the default value is immutable
    ) -> None:
        options = options_of(locals())
        self._json = ClassicJson(naming=naming, converter=converter)
        super().__init__(
            options,
            functools.partial(_open, options, self._json, checked_ping(ping)),
            reconnect=reconnect,
            retry_start=retry_start,
            handler_errors=handler_errors,
        )
        # The messages for `receive`; `None` if the program uses handlers or iterators only.
        self._inbox: Messages[Any] | None = None

    async def start(self) -> None:
        """Connect to the server; return when data can be sent.

        If there is no handler and no iterator yet, all messages wait for `receive`. If `start` is cancelled, the
        connection is `DISCONNECTED` again and nothing stays open.

        Raises:
            ConnectionFailedError: no attempt to connect succeeded.
            ConnectionClosedError: `stop()` was called before the connection was up.
            StateError: the state is not `DISCONNECTED`.
        """
        self._check_loop()
        if self.state is ConnectionState.DISCONNECTED:
            self._drop_inbox()
            if not self._handlers.events and not self._dispatcher.is_read:
                self._inbox = self._subscribe(None, "wait")
        await super().start()

    async def send(self, data: Any) -> None:
        """Send data: a `str` as it is, anything else as JSON.

        Over WebSockets, `send` returns when the data is in the outgoing buffer, and waits while that is full. Over
        other transports, `send` returns when the server has answered, and a `send` waits for the `send` before it.

        Raises:
            ConnectionClosedError: the connection ended, or the server refused the data.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: the data cannot be encoded; nothing was sent.
        """
        self._check_loop()
        record = (
            _encoded(data) if isinstance(data, str) else self._json.encode_value(self._json.plain(data))
        ) + MESSAGE_END
        link = self._life.link or await self._life.ready()
        await link.outgoing.send(record)

    def on_received(self, handler: H) -> H:
        """Register `handler(value)`, sync or async, called with each message in order."""
        self._handlers.add(RAW, handler)
        self._drop_inbox()
        return handler

    def off(self, handler: object) -> None:
        """Remove a handler of messages, or of lifecycle events."""
        self._handlers.remove(None, handler)

    def messages(self, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait") -> Messages[Any]:
        """Return an iterator over the messages that arrive after this call.

        Args:
            buffer: with `"drop_oldest"`, the largest number of waiting messages; `Limits.messages` by default.
            overflow: with `"wait"`, messages wait until `Limits.buffered_bytes` is reached; with `"drop_oldest"`, the
                oldest of more than `buffer` messages are dropped.
        """
        iterator = self._subscribe(buffer, overflow)
        self._drop_inbox()
        return iterator

    async def receive(self, timeout: float | None = None) -> Any:
        """Wait for the next message, and return it. Messages wait for the next call.

        Args:
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: no message came within `timeout`.
            ConnectionClosedError: the connection ended before a message came.
            NotConnectedError: the connection is not started.
        """
        self._check_loop()
        if self._inbox is None:
            if self.state is ConnectionState.DISCONNECTED:
                raise NotConnectedError("the connection is disconnected: start() it first", self.state)
            self._inbox = self._subscribe(None, "wait")
        try:
            return await self._inbox.next(timeout)
        except StopAsyncIteration:
            closed = self._life.closed
            error = closed.result() if closed is not None and closed.done() else None
            raise ConnectionClosedError("the connection ended before a message came") from error

    def _subscribe(self, buffer: int | None, overflow: str) -> Messages[Any]:
        if overflow not in ("wait", "drop_oldest"):
            raise ValueError(f"overflow must be 'wait' or 'drop_oldest', not {overflow!r}")
        return self._dispatcher.subscribe(
            (RAW,),
            mark_of(buffer, self._limits.messages),
            named=False,
            newest=overflow == "drop_oldest",
            loop=lambda: self._life.loop,
            convert=_value,
        )

    def _drop_inbox(self) -> None:
        """Keep no messages for `receive`, which the program does not use."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"the text cannot be sent: {error}") from None


def _value(arguments: list[Any]) -> Any:
    return arguments[0]
