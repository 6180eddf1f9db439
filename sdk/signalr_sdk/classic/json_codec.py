"""JSON as classic ASP.NET SignalR reads and writes it (Json.NET), for clients and for the test server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._typed.unstructure import unstructured
from ..errors import LocalProtocolError, RemoteProtocolError
from ..protocols.json_values import loads_exactly, loads_slowly
from ..protocols.json_writer import JsonWriter
from .envelopes import excerpt

if TYPE_CHECKING:
    from ..interfaces import Converter
    from ..protocols.values import NamingChoice

# The names of members that users know by other names, for the paths in errors.
_SHOWN = {"A": "arguments", "S": "state", "R": "result", "D": "data"}


class ClassicJson(JsonWriter):
    r"""Encodes and decodes the JSON of classic ASP.NET SignalR.

    Args:
        naming: how attribute names of classes are written, as for `JsonProtocol`; Json.NET writes them in Pascal case.
        converter: the user's converter for values that JSON does not have; `None` for none.

    Example:
        >>> ClassicJson().encode({"H": "chat", "M": "Send", "A": ["hi"]})
        b'{"H":"chat","M":"Send","A":["hi"]}'
    """

    def __init__(self, *, naming: NamingChoice = "pascal", converter: Converter | None = None) -> None:
        super().__init__(naming=naming)
        self._converter = converter

    def plain(self, value: Any) -> Any:
        """Return a value of the user after the user's converter, if there is one.

        Raises:
            LocalProtocolError: the converter cannot take apart the value.
        """
        return value if self._converter is None else unstructured(self._converter, value)

    def encode(self, members: dict[str, Any]) -> bytes:
        """Return the members of a message as JSON.

        Raises:
            LocalProtocolError: a value cannot be encoded. The text has the path of the value: `arguments[0].Name`.
        """
        try:
            return self._written(members, False)
        except LocalProtocolError as error:
            text = error.message
            name = text[:1]
            if name in _SHOWN and text[1:2] in ".[:":
                raise LocalProtocolError(_SHOWN[name] + text[1:]) from error.__cause__
            raise

    def encode_value(self, value: Any) -> bytes:
        """Return any value as JSON.

        Raises:
            LocalProtocolError: the value cannot be encoded.
        """
        # `{"D":` before the value and `}` after it are cut off.
        return self.encode({"D": value})[5:-1]

    def decode(self, data: bytes, *, exact: bool = False) -> Any:
        """Decode a JSON text.

        Args:
            data: the text, as UTF-8.
            exact: decode numbers with a fraction as `Decimal`.

        Raises:
            RemoteProtocolError: the text is no JSON.
        """
        try:
            return loads_exactly(data) if exact else self._loads(data)
        except (ValueError, RecursionError):
            return self._decode_slowly(data)

    def _decode_slowly(self, data: bytes) -> Any:
        try:
            return loads_slowly(data)
        except ValueError as error:
            why = f"it is not JSON: {error}"
        except RecursionError:
            why = "it is nested too deeply"
        begin = excerpt(data).decode("utf-8", "replace")
        raise RemoteProtocolError(f"this is no message of classic SignalR, {why}: {begin!r}")
