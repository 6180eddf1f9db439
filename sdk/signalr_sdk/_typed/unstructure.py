"""A hub protocol that converts values with the user's `converter=` before it encodes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import LocalProtocolError
from ..messages import Completion, Invocation, StreamInvocation, StreamItem
from ..protocols.batches import shortcut

if TYPE_CHECKING:
    from ..interfaces import Converter, HubProtocol
    from ..messages import HubMessage
    from ..options import TransferFormat


class ConvertingProtocol:
    """A `HubProtocol` that passes values to the user's converter before it encodes them.

    The converter gets all values except None, bool, int, float, str, bytes, lists, tuples and dicts.

    Args:
        protocol: encodes the converted messages, and decodes.
        converter: the user's `converter=`.
    """

    def __init__(self, protocol: HubProtocol, converter: Converter) -> None:
        self._protocol = protocol
        self._converter = converter
        self.name: str = protocol.name
        self.transfer_format: TransferFormat = protocol.transfer_format
        self.naming: Callable[[str], str] = protocol.naming
        self.decode = protocol.decode
        decode_all = shortcut(protocol, "decode", "decode_all")
        if decode_all is not None:
            self.decode_all = decode_all

    def encode(self, message: HubMessage, /) -> bytes:
        """See `HubProtocol.encode`. The values in the message are replaced by converted values."""
        if isinstance(message, Invocation | StreamInvocation):
            message.arguments = unstructured(self._converter, message.arguments)
        elif isinstance(message, StreamItem):
            message.item = unstructured(self._converter, message.item)
        elif isinstance(message, Completion):
            message.result = unstructured(self._converter, message.result)
        return self._protocol.encode(message)


def unstructured(converter: Converter, value: Any) -> Any:
    """Pass all parts of a value to a converter, except None, bool, int, float, str, bytes, lists, tuples and dicts.

    Raises:
        LocalProtocolError: the converter cannot take apart a part of the value.
    """
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case list() | tuple():
            return [unstructured(converter, item) for item in value]
        case dict():
            return {key: unstructured(converter, item) for key, item in value.items()}
        case _:
            return _taken_apart(converter, value)


def _taken_apart(converter: Converter, value: Any) -> Any:
    try:
        return converter.unstructure(value)
    except Exception as error:
        raise LocalProtocolError(
            f"the converter cannot take apart a value of type {type(value).__name__}: {error}"
        ) from error
