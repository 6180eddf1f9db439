"""Runs one invocation of a client: calls the hub method, and sends the client the result, stream items or error."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import attrs

from ..messages import Invocation, StreamInvocation
from .argument_binding import Binder
from .error_texts import InvalidDataException, exception_text
from .hub_methods import HubMethod, methods_of, normalized
from .hubs import Hub, HubException

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .._core.session import ServerSession
    from .client_streams import ClientStream

_logger = logging.getLogger("signalr_sdk.testing")


@attrs.frozen(kw_only=True)
class HubInvocation:
    """One invocation of a client: calls the hub method, and sends the client the answer.

    Attributes:
        message: the client's invocation: target, arguments and invocation id.
        streams: the streams that the client sends with the invocation, in their order.
        hub: the hub instance of the connection.
        session: encodes the messages to the client.
        write: sends encoded messages; waits while the client's buffer is full.
        detailed: whether the client gets the text of every exception.
    """

    message: Invocation | StreamInvocation
    streams: list[ClientStream]
    hub: Hub
    session: ServerSession
    write: Callable[[bytes], Awaitable[None]]
    detailed: bool

    async def run(self, slots: asyncio.Semaphore) -> None:
        """Call the hub method and send the client the result, the stream items or the error.

        Args:
            slots: the invocations of a client share this semaphore, which limits how many run at the same time.
                Streaming methods run without it.
        """
        target = self.message.target
        method = methods_of(type(self.hub)).get(normalized(target))
        if method is None:
            await self._refuse(HubException("Method does not exist."))
            return
        mismatch = self._mismatch(method)
        binder = Binder(self.session.protocol, detailed=self.detailed)
        try:
            arguments = binder.bind(method, self.message.arguments, self.streams)
        except InvalidDataException as error:
            await self._refuse(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the types of the hub, the client gets an error
            await self.complete(mismatch or self._unexpected(error))
            return
        function = getattr(self.hub, method.name)
        if mismatch is not None:
            await self.complete(mismatch)
        elif method.streams:
            await self._stream(function, arguments)
        else:
            async with slots:
                await self._invoke(function, arguments)

    def _mismatch(self, method: HubMethod) -> str | None:
        """Return an error text if the client's kind of message does not fit the method; otherwise `None`.

        A method that streams items needs a `StreamInvocation`, any other method an `Invocation`.
        """
        if method.streams is isinstance(self.message, StreamInvocation):
            return None
        kind, how = ("streaming", "non-streaming") if method.streams else ("non-streaming", "streaming")
        return f"The client attempted to invoke the {kind} '{self.message.target}' method with a {how} invocation."

    async def _invoke(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        invocation_id = self.message.invocation_id
        try:
            result = function(*arguments)
            if inspect.isawaitable(result):
                result = await result
            data = self.session.answer(invocation_id, result) if invocation_id is not None else b""
        except Exception as error:  # noqa: BLE001 - a hub method may raise anything; the client gets an error
            _logger.info("the hub method '%s' failed: %r", self.message.target, error)
            await self.complete(self._unexpected(error))
        else:
            if invocation_id is not None:
                await self.write(data)

    async def _stream(self, function: Callable[..., AsyncIterator[Any]], arguments: list[Any]) -> None:
        invocation_id = self.message.invocation_id or ""
        try:
            items = function(*arguments)
        except Exception as error:  # noqa: BLE001 - as above
            await self.complete(self._unexpected(error))
            return
        failure = None
        try:
            async for item in items:
                await self.write(self.session.item(invocation_id, item))
        except Exception as error:  # noqa: BLE001 - as above
            text = "An error occurred on the server while streaming results."
            failure = text + exception_text(error, detailed=self.detailed)
        finally:
            aclose = getattr(items, "aclose", None)
            if aclose is not None:
                await aclose()
        await self.complete(failure)

    async def complete(self, error: str | None = None) -> None:
        """Send the client a completion without a result. Does nothing if the client wants no completion."""
        if self.message.invocation_id is not None:
            await self.write(self.session.complete(self.message.invocation_id, error))

    async def _refuse(self, error: Exception) -> None:
        text = f"Failed to invoke '{self.message.target}' due to an error on the server."
        await self.complete(text + exception_text(error, detailed=self.detailed))

    def _unexpected(self, error: Exception) -> str:
        text = f"An unexpected error occurred invoking '{self.message.target}' on the server."
        return text + exception_text(error, detailed=self.detailed)
