"""Copies docstrings from the asyncio classes to the classes of the same names in `signalr_sdk.sync`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound=type)


def twin_of(original: type) -> Callable[[C], C]:
    """Return a class decorator that gives public methods and properties the docstrings of an asyncio class.

    A method that has a docstring of its own keeps it: the docstring of the asyncio class would be wrong for threads.

    Args:
        original: the asyncio class.

    Raises:
        AttributeError: the asyncio class has no method or property of the same name.
    """

    def document(twin: C) -> C:
        for name, member in vars(twin).items():
            if not name.startswith("_") and member.__doc__ is None:
                member.__doc__ = getattr(original, name).__doc__
        return twin

    return document
