"""`Handlers`: the handlers that the user has registered for one hub connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..interfaces import Handler


class Handlers:
    """Stores the handlers of one hub connection, in tuples of functions.

    Attributes:
        events: a dict from an event's name in lower case to the tuple of its handlers.
        any: the tuple of the `on_any` handlers.
        lifecycle: a dict from a lifecycle event's name without `on_`, such as "closed", to the tuple of its handlers.

    To add or remove a handler, store a new tuple: the dispatcher may be iterating over the old tuple.
    """

    def __init__(self) -> None:
        self.events: dict[str, tuple[Handler, ...]] = {}
        self.any: tuple[Handler, ...] = ()
        self.lifecycle: dict[str, tuple[Handler, ...]] = {}

    def add(self, event: str, handler: Handler) -> None:
        """Register a handler for an event. Registering the same handler again changes nothing."""
        self.events[event.lower()] = _with(self.events.get(event.lower(), ()), handler)

    def add_any(self, handler: Handler) -> None:
        """Register a handler for the events that have no handler of their own."""
        self.any = _with(self.any, handler)

    def add_lifecycle(self, name: str, handler: Handler) -> None:
        """Register a handler for a lifecycle event. `name` has no `on_`: for example "closed"."""
        self.lifecycle[name] = _with(self.lifecycle.get(name, ()), handler)

    def remove(self, event: str | None, handler: object | None) -> None:
        """Remove all handlers of an event, one handler of an event, or (without an event) one handler of all events."""
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
