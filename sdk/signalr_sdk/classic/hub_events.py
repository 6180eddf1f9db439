"""`HubEvents`: a dispatcher for connections that several hubs share, each with handlers and iterators of its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .._receiving.dispatcher import Dispatcher, with_name
from .session import HUB_END

if TYPE_CHECKING:
    from ..interfaces import Handler


class HubEvents(Dispatcher):
    """A `Dispatcher` for the events of classic hubs.

    The target of an event is the name of the hub, `HUB_END` and the name of the event. All events wait in one queue,
    so that they are handled in the order received. An iterator over all events of a hub is subscribed to the name of
    the hub in lower case and `HUB_END`.
    """

    def _split(self, target: str) -> tuple[str | None, str]:
        hub, end, event = target.partition(HUB_END)
        return hub.lower() + end, event

    def _publish(self, *columns: list[Any]) -> tuple[list[Any], ...]:
        subscribers, handled = self._subscribers, self._handlers.events
        for_handlers: list[tuple[Any, ...]] = []
        for row in zip(*columns, strict=True):
            target, arguments, size = row
            scope, event = self._split(target)
            key = target.lower()
            over_name, over_all = subscribers.get(key, ()), subscribers.get(scope, ())
            for queue in (*over_all, *over_name):
                queue.put_event(event, arguments, size)
            fallback = not over_all or bool(self._any_handlers(scope))
            if (fallback and not over_name) or key in handled:
                for_handlers.append(row)
        return tuple(map(list, zip(*for_handlers, strict=True))) if for_handlers else ([], [], [])

    def _any_handlers(self, scope: str | None) -> tuple[Handler, ...]:
        handlers = self._handlers.hubs.get(scope)
        return () if handlers is None else handlers.any

    def _fallback(self, target: str) -> tuple[Handler, ...]:
        scope, event = self._split(target)
        if handlers := self._any_handlers(scope):
            return tuple(functools.partial(with_name, handler, event) for handler in handlers)
        if scope not in self._subscribers:
            self._warn_unknown(shown(target))
        return ()

    async def _failed(self, event: str, error: Exception) -> None:
        await super()._failed(shown(event), error)


def shown(target: str) -> str:
    """Return the target of an event as users write it, such as "Chat.addMessage"."""
    return target.replace(HUB_END, ".")
