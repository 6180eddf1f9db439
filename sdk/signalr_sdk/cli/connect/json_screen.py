"""The output of `signalr connect` for programs: JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import exit_status

if TYPE_CHECKING:
    from ..json_output import JsonLines


class JsonScreen:
    """Writes one JSON object per line to standard output, and notes about the connection to standard error."""

    def __init__(self, output: JsonLines) -> None:
        self._output = output

    async def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """See `Screen`."""
        await self._output.write({"event": name, "arguments": arguments})

    async def result(self, method: str, value: Any) -> None:
        """See `Screen`."""
        await self._output.write({"call": method, "result": value})

    async def item(self, method: str, value: Any) -> None:
        """See `Screen`."""
        await self._output.write({"call": method, "item": value})

    async def ended(self, method: str, count: int) -> None:
        """See `Screen`."""
        await self._output.write({"call": method, "items": count})

    async def sent(self, method: str) -> None:
        """See `Screen`."""
        await self._output.write({"call": method, "sent": True})

    async def failed(self, what: str, why: str) -> None:
        """See `Screen`."""
        await self._output.write({"call": what, "error": why})

    def note(self, text: str) -> None:
        """See `Screen`."""
        exit_status.say(text)
