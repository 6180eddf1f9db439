"""`PollPace`: pauses between the polls of long polling if a server answers them at once and without messages."""

from __future__ import annotations

import asyncio

# A server should hold a poll request until it has messages. If more than `_FREE` polls in a row were answered at once
# and without messages, the client pauses before each poll, from `_SHORTEST_PAUSE` up to `_LONGEST_PAUSE` seconds.
# Without pauses, the client would poll a thousand times a second.
_FREE = 2
_SHORTEST_PAUSE = 0.025
_LONGEST_PAUSE = 1.0
# More empty polls in a row do not make the pause longer.
_MOST = 10


class PollPace:
    """Decides how long to wait before a poll."""

    def __init__(self) -> None:
        self._quick_empty = 0
        self._began = 0.0

    async def pause(self) -> None:
        """Wait, if the last polls were answered at once and without messages. Call this directly before each poll."""
        if self._quick_empty > _FREE:
            await asyncio.sleep(min(_SHORTEST_PAUSE * 2.0 ** (self._quick_empty - _FREE), _LONGEST_PAUSE))
        self._began = asyncio.get_running_loop().time()

    def note(self, *, empty: bool) -> None:
        """Count a poll that was answered: whether it was `empty`, that is, brought no message."""
        quick = asyncio.get_running_loop().time() - self._began < _LONGEST_PAUSE
        self._quick_empty = min(self._quick_empty + 1, _MOST) if quick and empty else 0
