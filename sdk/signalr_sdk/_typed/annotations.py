"""Reads the annotations of users' classes and functions, which may hold names that only type checkers know."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

    def annotations_of(cls: type) -> dict[str, Any]:
        """Return the annotations of a class, without its bases. An unknown name becomes a `ForwardRef`."""
        # FORWARDREF returns a `ForwardRef` for an unknown name. From 3.14 on, Python evaluates annotations when they
        # are read (PEP 649), and without FORWARDREF a name that only type checkers know would raise NameError.
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)

    def signature_of(function: Callable[..., object], *, follow_wrapped: bool) -> inspect.Signature:
        """Return the signature of a function without resolving its annotations; see `inspect.signature`."""
        # For the reason of FORWARDREF, see `annotations_of`.
        form = annotationlib.Format.FORWARDREF
        return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=form)

else:

    def annotations_of(cls: type) -> dict[str, Any]:
        """Return the annotations of a class, without its bases. An annotation in quotes stays text."""
        return inspect.get_annotations(cls)

    def signature_of(function: Callable[..., object], *, follow_wrapped: bool) -> inspect.Signature:
        """Return the signature of a function without resolving its annotations; see `inspect.signature`."""
        return inspect.signature(function, follow_wrapped=follow_wrapped)


def read_function(where: str, function: types.FunctionType) -> tuple[dict[str, Any], list[inspect.Parameter]]:
    """Return a dict from parameter names (and "return") to annotated types, and a list of all parameters.

    Resolving annotations runs code of the user's module, which may raise any exception: each becomes a TypeError.

    Args:
        where: names the function in the error.
        function: the function.

    Raises:
        TypeError: an annotation cannot be resolved.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
    except Exception as error:
        raise TypeError(
            f"{where}: its annotations cannot be looked up ({error}): their names must be known to its module when the "
            f"program runs, not only to type checkers"
        ) from error
    return hints, parameters
