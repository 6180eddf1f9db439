"""Copies docstrings from the asyncio classes to their twins, the classes of `signalr_sdk.sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C", bound=type)


def twin_of(original: type) -> Callable[[C], C]:
    """Return a class decorator that copies docstrings from the public members of an asyncio class.

    A member that has a docstring keeps it: the docstring of the asyncio class would be wrong for threads.

    Raises:
        AttributeError: the asyncio class has no member of the same name.
    """

    def document(twin: C) -> C:
        for name, member in vars(twin).items():
            if not name.startswith("_") and member.__doc__ is None:
                member.__doc__ = getattr(original, name).__doc__
        return twin

    return document
