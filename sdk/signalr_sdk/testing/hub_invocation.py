"""One call of a client: the hub method is found, its arguments are bound, and what it returns or raises is answered."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import attrs

from .._typed.structure import default_converter, structure
from ..errors import ResultTypeError
from ..messages import StreamInvocation
from .hubs import HubException, HubMethod, matching

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from .._core.session import ServerSession
    from ..interfaces import HubProtocol
    from ..messages import Invocation
    from .client_streams import Upload
    from .hubs import Hub

_logger = logging.getLogger("signalr_sdk.testing")

_BINDING = (
    "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being "
    "invoked."
)
# These arrive as they are, so that plain hubs need no converter.
_PLAIN = (str, int, float, bool)


class InvalidDataException(Exception):  # noqa: N818 - its name on the server
    """What the client sent does not fit."""


def exception_text(error: Exception, *, detailed: bool) -> str:
    """Return what a client is told of an error, to stand after a full stop."""
    if detailed or isinstance(error, HubException):
        return f" {type(error).__name__}: {error}"
    return ""


class Binder:
    """Makes the values that hub methods want of those that came.

    Args:
        protocol: how they came.
    """

    def __init__(self, protocol: HubProtocol) -> None:
        self._protocol = protocol

    def argument(self, value: Any, wanted: Any) -> Any:
        """Return an argument.

        Raises:
            InvalidDataException: it does not fit.
        """
        try:
            return self._value(value, wanted)
        except ResultTypeError:
            raise InvalidDataException(_BINDING) from None

    def answer(self, value: Any, wanted: Any) -> Any:
        """Return what a client answered.

        Raises:
            HubException: it does not fit.
        """
        try:
            return self._value(value, wanted)
        except ResultTypeError as error:
            name = getattr(wanted, "__name__", wanted)
            raise HubException(f"Error trying to deserialize result to {name}. {error}") from error

    def item(self, value: Any, wanted: Any, *, detailed: bool) -> Any:
        """Return an item of a client's stream.

        Raises:
            HubException: it does not fit.
        """
        try:
            return self._value(value, wanted)
        except ResultTypeError as error:
            text = "Failed to bind Stream message."
            raise HubException(f"{text} {error}" if detailed else text) from error

    def _value(self, value: Any, wanted: Any) -> Any:
        if wanted is Any or wanted is object or (wanted in _PLAIN and type(value) is wanted):
            return value
        return structure(default_converter(self._protocol.naming), value, wanted)


@attrs.frozen
class Call:
    """A call on its way through the hub.

    Attributes:
        message: what the client said.
        uploads: the streams that belong to it.
        methods: of the hub.
        hub: whom it is for.
        session: encodes the answers.
        write: sends them.
        detailed: whether the client is told the text of any exception.
    """

    message: Invocation | StreamInvocation
    uploads: list[Upload]
    methods: Mapping[str, HubMethod]
    hub: Hub
    session: ServerSession
    write: Callable[[bytes], Awaitable[None]]
    detailed: bool = attrs.field(kw_only=True)

    async def run(self, slots: asyncio.Semaphore) -> None:
        """Run the hub method and answer.

        Args:
            slots: what an invocation waits for; streams do not.
        """
        target = self.message.target
        method = self.methods.get(matching(target))
        if method is None:
            await self._refuse(HubException("Method does not exist."))
            return
        mismatch = self._mismatch(method)
        try:
            arguments = self._bind(method)
        except InvalidDataException as error:
            await self._refuse(error)
            return
        except HubException as error:
            await self._fail(mismatch or self._unexpected(error))
            return
        function = getattr(self.hub, method.name)
        if mismatch is not None:
            await self._fail(mismatch)
        elif method.streams:
            await self._stream(function, arguments)
        else:
            async with slots:
                await self._invoke(function, arguments)

    def _mismatch(self, method: HubMethod) -> str | None:
        """Return what is wrong if a stream is called as if it were none, or the other way round."""
        if method.streams is isinstance(self.message, StreamInvocation):
            return None
        kind, how = ("streaming", "non-streaming") if method.streams else ("non-streaming", "streaming")
        return f"The client attempted to invoke the {kind} '{self.message.target}' method with a {how} invocation."

    async def refuse_id(self) -> None:
        """Answer that there is such a stream already."""
        await self._fail(f"Invocation ID '{self.message.invocation_id}' is already in use.")

    async def end_stream(self) -> None:
        """Answer a cancelled stream."""
        await self._fail(None)

    async def _invoke(self, function: Callable[..., Any], arguments: list[Any]) -> None:
        name = self.message.invocation_id
        try:
            result = function(*arguments)
            if inspect.isawaitable(result):
                result = await result
            data = self.session.answer(name, result) if name is not None else b""
        except Exception as error:  # noqa: BLE001 - a hub may raise anything; the client is told
            _logger.info("the hub method '%s' failed: %r", self.message.target, error)
            await self._fail(self._unexpected(error))
        else:
            if name is not None:
                await self.write(data)

    async def _stream(self, function: Callable[..., AsyncIterator[Any]], arguments: list[Any]) -> None:
        name = self.message.invocation_id or ""
        try:
            items = function(*arguments)
        except Exception as error:  # noqa: BLE001 - as above
            await self._fail(self._unexpected(error))
            return
        failure = None
        try:
            async for item in items:
                await self.write(self.session.item(name, item))
        except Exception as error:  # noqa: BLE001 - as above
            text = "An error occurred on the server while streaming results."
            failure = text + exception_text(error, detailed=self.detailed)
        finally:
            aclose = getattr(items, "aclose", None)
            if aclose is not None:
                await aclose()
        await self._fail(failure)

    # Answers

    async def _fail(self, error: str | None) -> None:
        """Complete the call without a result."""
        name = self.message.invocation_id
        if name is not None:
            await self.write(self.session.complete(name, error))

    async def _refuse(self, error: Exception) -> None:
        text = f"Failed to invoke '{self.message.target}' due to an error on the server."
        await self._fail(text + exception_text(error, detailed=self.detailed))

    def _unexpected(self, error: Exception) -> str:
        text = f"An unexpected error occurred invoking '{self.message.target}' on the server."
        return text + exception_text(error, detailed=self.detailed)

    # Arguments

    def _bind(self, method: HubMethod) -> list[Any]:
        given, streams = self.message.arguments, self.uploads
        if not method.required <= len(given) <= method.arguments:
            raise InvalidDataException(
                f"Invocation provides {len(given)} argument(s) but target expects {method.arguments}."
            )
        if len(streams) != len(method.parameters) - method.arguments:
            expected = len(method.parameters) - method.arguments
            raise HubException(f"Client sent {len(streams)} stream(s), Hub method expects {expected}.")
        converting = Binder(self.session.protocol)
        plain, uploads = iter(given), iter(streams)
        bound: list[Any] = []
        for parameter in method.parameters:
            if parameter.is_stream:
                bound.append(next(uploads).converted(self._item_of(converting, parameter.type)))
            else:
                value = next(plain, parameter)
                bound.append(parameter.default if value is parameter else converting.argument(value, parameter.type))
        return bound

    def _item_of(self, converting: Binder, wanted: Any) -> Callable[[Any], Any]:
        return lambda value: converting.item(value, wanted, detailed=self.detailed)
