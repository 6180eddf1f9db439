"""The base class of objects that belong to one event loop: they cannot be copied or pickled."""

from __future__ import annotations

from typing import NoReturn


class Uncopied:
    """The base class of connections, streams and uploads: `pickle` and `copy` raise TypeError for such objects.

    Their tasks and sockets belong to one event loop of one process, so a copy could not work.
    """

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it belongs to an event loop of this process. Hand "
            f"on its arguments, and make another one where it is used"
        )
