"""Converts values from a client of the test server to the types that the hub's Python code wants."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from .._typed.leaf_values import HOOKS
from .._typed.structure import LEAVES, default_converter, structure
from ..errors import LocalProtocolError, ResultTypeError
from .error_texts import InvalidDataException
from .hubs import HubException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..interfaces import HubProtocol
    from .client_streams import ClientStream
    from .hub_methods import HubMethod

_BINDING = (
    "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being "
    "invoked."
)


@attrs.frozen
class Binder:
    """Converts the values that one client sends: arguments, stream items, and results of methods that the hub calls.

    Attributes:
        protocol: the hub protocol that has decoded the values.
        detailed: whether the error for a stream item of a wrong type tells the client the reason.
    """

    protocol: HubProtocol
    detailed: bool = attrs.field(default=False, kw_only=True)

    def bind(self, method: HubMethod, arguments: Sequence[Any], streams: Sequence[ClientStream]) -> list[Any]:
        """Return the list of arguments for a hub method: the converted values and the streams, in parameter order.

        Raises:
            InvalidDataException: the number of arguments is wrong, or an argument has a wrong type.
            HubException: the number of streams is wrong.
        """
        if not method.required <= len(arguments) <= method.arguments:
            raise InvalidDataException(
                f"Invocation provides {len(arguments)} argument(s) but target expects {method.arguments}."
            )
        if len(streams) != (expected := len(method.parameters) - method.arguments):
            raise HubException(f"Client sent {len(streams)} stream(s), Hub method expects {expected}.")
        given, uploads = iter(arguments), iter(streams)
        bound: list[Any] = []
        for parameter in method.parameters:
            if parameter.is_stream:
                bound.append(next(uploads).converted(partial(self._item, parameter.type)))
            else:
                value = next(given, parameter)
                bound.append(parameter.default if value is parameter else self._argument(value, parameter.type))
        return bound

    def client_result(self, value: Any, wanted: Any) -> Any:
        """Return the result that a client has sent for a call by the hub, converted to the type that the hub wants.

        Raises:
            HubException: the value does not fit the wanted type.
        """
        try:
            return self._converted(value, wanted)
        except ResultTypeError as error:
            name = getattr(wanted, "__name__", wanted)
            raise HubException(f"Error trying to deserialize result to {name}. {error}") from error

    def _argument(self, value: Any, wanted: Any) -> Any:
        try:
            return self._converted(value, wanted)
        except ResultTypeError:
            raise InvalidDataException(_BINDING) from None

    def _item(self, wanted: Any, value: Any) -> Any:
        try:
            return self._converted(value, wanted)
        except ResultTypeError as error:
            text = "Failed to bind Stream message."
            raise HubException(f"{text} {error}" if self.detailed else text) from error

    def _converted(self, value: Any, wanted: Any) -> Any:
        if wanted is Any or wanted is object:
            return value
        # Only a class is sure to be hashable, and `Annotated` with a list is not. These types work without cattrs too.
        if isinstance(wanted, type) and wanted in HOOKS:
            return structure(LEAVES, value, wanted)
        try:
            converter = default_converter(self.protocol.naming)
        except LocalProtocolError as error:
            raise HubException(f"the test server cannot make a {wanted}: {error}") from error
        return structure(converter, value, wanted)
