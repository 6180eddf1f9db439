"""Runs the handlers of classic hubs on threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...classic.hub_events import HubEvents, shown
from ..dispatcher import ThreadDispatcher

if TYPE_CHECKING:
    from collections import deque


class ThreadHubEvents(HubEvents, ThreadDispatcher):
    """A `HubEvents` whose handlers are plain functions, which it calls on threads."""

    def _report(self, event: str, error: Exception, batch: deque[Any] | None) -> bool:
        return super()._report(shown(event), error, batch)
