"""Copies: objects that belong to one event loop refuse to be copied, and each caller gets a copy of a shared error."""

from __future__ import annotations

import copy
from typing import NoReturn, TypeVar

from ..errors import SignalRError

E = TypeVar("E", bound=BaseException)


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


def copy_of(error: E) -> E:
    """Return a copy of an error of this package, for one of several callers that raise the error.

    Two callers must not share an error object: each `raise` changes the traceback in the object. An error of another
    package is returned as it is, since it may not allow copies.
    """
    if not isinstance(error, SignalRError):
        return error
    twin = copy.copy(error)
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        twin.__notes__ = [*error.__notes__]
    return twin.with_traceback(error.__traceback__)
