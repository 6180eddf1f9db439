"""The register of the user's handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..interfaces import Handler


class Handlers:
    """Who is called for what. Tuples are replaced, never changed, so handlers may add and remove handlers."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[Handler, ...]] = {}
        self.any: tuple[Handler, ...] = ()
        self.lifecycle: dict[str, tuple[Handler, ...]] = {}

    def add(self, event: str, handler: Handler) -> None:
        """Register for an event; the same handler counts once."""
        self.events[event.lower()] = _with(self.events.get(event.lower(), ()), handler)

    def add_any(self, handler: Handler) -> None:
        """Register for the events that nobody else is registered for."""
        self.any = _with(self.any, handler)

    def add_lifecycle(self, name: str, handler: Handler) -> None:
        """Register for a lifecycle event."""
        self.lifecycle[name] = _with(self.lifecycle.get(name, ()), handler)

    def remove(self, event: str | None, handler: object | None) -> None:
        """Remove all of an event, one of an event, or one wherever it is registered."""
        if event is not None:
            _remove(self.events, event.lower(), handler)
            return
        for table in (self.events, self.lifecycle):
            for name in list(table):
                _remove(table, name, handler)
        self.any = tuple(each for each in self.any if each != handler)


def _with(handlers: tuple[Handler, ...], handler: Handler) -> tuple[Handler, ...]:
    if not callable(handler):
        raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
    return handlers if handler in handlers else (*handlers, handler)


def _remove(table: dict[str, tuple[Handler, ...]], name: str, handler: object | None) -> None:
    left = () if handler is None else tuple(each for each in table.get(name, ()) if each != handler)
    if left:
        table[name] = left
    else:
        table.pop(name, None)
