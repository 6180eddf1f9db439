"""`JsonWriter`: writes the members of a message as JSON, for the JSON hub protocol and for classic ASP.NET SignalR."""

from __future__ import annotations

from typing import Any

from .json_values import JsonBackend, choose_backend, holds_nonfinite, write_slowly
from .values import ENCODING_ERRORS, Naming, NamingChoice, resolve_naming


class JsonWriter:
    """Writes messages as JSON.

    Args:
        naming: how attribute names of classes are written, as for `JsonProtocol`.

    Attributes:
        naming: the function that turns an attribute name of a user's class into the name in JSON.
    """

    def __init__(self, *, naming: NamingChoice = "camel", _backend: JsonBackend | None = None) -> None:
        self.naming: Naming = resolve_naming(naming)
        self._backend = choose_backend() if _backend is None else _backend
        self._dumps, self._loads = self._backend.dumps, self._backend.loads
        self._hides_nonfinite = self._backend.hides_nonfinite
        self._default, self._options = self._backend.default(self.naming), self._backend.options

    def _written(self, members: dict[str, Any], is_flat: bool) -> bytes:
        """Return a message as JSON.

        Args:
            members: a dict from the names of the message's members to their values.
            is_flat: whether no value can hold a NaN, because of the types. If true, the values are not searched for a
                NaN.
        """
        try:
            data = self._dumps(members, self._default, self._options)
        except ENCODING_ERRORS:
            # Use the slow writer: it can encode more values than the codec, and its error names the value that is
            # wrong.
            return write_slowly(members, self.naming)
        # orjson writes a NaN as null without an error. A NaN must not be sent, so search the values for one if the JSON
        # holds a null. `rfind` takes half the time of `in` (tests/bench/test_codec.py).
        if not is_flat and self._hides_nonfinite and data.rfind(b"null") >= 0 and holds_nonfinite(members, self.naming):
            return write_slowly(members, self.naming)
        return data
