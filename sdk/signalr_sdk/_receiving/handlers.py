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

        hubs: a dict from a prefix (see `Args`) to the handlers of one hub, if several hubs share the connection. The
            dict `events` of these handlers is that of the connection.

    To add or remove a handler, store a new tuple: the dispatcher may be iterating over the old tuple.

    Args:
        prefix: stands before the names of events in `events`. Only events whose names begin with it are added or
            removed.
        events: the dict `events` of the connection, for the handlers of one of its hubs.
    """

    def __init__(self, prefix: str = "", events: dict[str, tuple[Handler, ...]] | None = None) -> None:
        self.events: dict[str, tuple[Handler, ...]] = {} if events is None else events
        self.any: tuple[Handler, ...] = ()
        self.lifecycle: dict[str, tuple[Handler, ...]] = {}
        self.hubs: dict[str | None, Handlers] = {}
        self._prefix = prefix

    def add(self, event: str, handler: Handler) -> None:
        """Register a handler for an event. Registering the same handler again changes nothing."""
        name = self._prefix + event.lower()
        self.events[name] = _with(self.events.get(name, ()), handler)

    def add_any(self, handler: Handler) -> None:
        """Register a handler for the events that have no handler of their own."""
        self.any = _with(self.any, handler)

    def add_lifecycle(self, name: str, handler: Handler) -> None:
        """Register a handler for a lifecycle event. `name` has no `on_`: for example "closed"."""
        self.lifecycle[name] = _with(self.lifecycle.get(name, ()), handler)

    def remove(self, event: str | None, handler: object | None) -> None:
        """Remove all handlers of an event, one handler of an event, or (without an event) one handler of all events."""
        if event is not None:
            _remove(self.events, self._prefix + event.lower(), handler)
            return
        for name in list(self.events):
            if name.startswith(self._prefix):
                _remove(self.events, name, handler)
        for name in list(self.lifecycle):
            _remove(self.lifecycle, name, handler)
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
