"""Finds the methods of a hub class that clients can call, with their names and parameters."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import attrs

from .._typed.annotations import read_function
from .._typed.structure import needs_exact

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

    from .hubs import Hub, HubBase

_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
RESERVED = frozenset({"on_connected", "on_authentication_refreshed", "on_disconnected"})
"""Clients cannot call these methods of a hub: the server calls them when a client comes, renews its token or leaves."""


@attrs.frozen
class HubParameter:
    """A parameter of a hub method, to which the server gives an argument or a stream of the client.

    Attributes:
        name: name of the parameter in Python.
        type: the annotated type, or `Any` without annotation. For a stream, the type of the items.
        is_stream: whether the parameter gets a stream of items from the client.
        default: the default value; `Parameter.empty` without a default.
    """

    name: str
    type: Any
    is_stream: bool
    default: Any = attrs.field(kw_only=True)


@attrs.frozen(kw_only=True)
class HubMethod:
    """A method of a hub class that clients can call.

    Attributes:
        name: name of the method in Python.
        streams: whether the method streams items to the client.
        parameters: all parameters in their order, without `self`.
        arguments: how many parameters get an argument of the invocation. The other parameters get streams.
        required: how many of the arguments have no default.
        exact: whether a parameter wants a `Decimal`, so that numbers must be decoded with all their digits.
    """

    name: str
    streams: bool
    parameters: tuple[HubParameter, ...]
    arguments: int
    required: int
    exact: bool


def methods_of(hub: type[Hub]) -> dict[str, HubMethod]:
    """Return a dict of the methods that clients can call. The keys are the names in lower case and without `_`.

    Raises:
        TypeError: clients cannot call a method because of its parameters, or two methods have the same name to clients.
    """
    return _methods_of(hub)  # type: ignore[arg-type] # mypy looks at Hub.__hash__, not type.__hash__


@lru_cache(maxsize=256)
def _methods_of(hub: type[Hub]) -> dict[str, HubMethod]:
    found: dict[str, HubMethod] = {}
    for name, function in public_functions(hub, RESERVED):
        method = read_method(hub, name, function)
        other = found.setdefault(normalized(name), method)
        if other is not method:
            raise TypeError(f"{hub.__name__}: '{other.name}' and '{name}' are the same name to clients")
    return found


def public_functions(hub: type[HubBase], reserved: frozenset[str]) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the name and the function of each method that clients can call: the public ones that are not reserved."""
    for name, function in inspect.getmembers(hub, inspect.isfunction):
        if not (
            name.startswith("_") or name in reserved or isinstance(inspect.getattr_static(hub, name), staticmethod)
        ):
            yield name, function


def exact_methods(hub: type[Hub]) -> Callable[[str], bool] | None:
    """Return a function that takes a method name, and returns whether the method wants JSON numbers as `Decimal`.

    Return `None` if no method of the hub has a `Decimal` parameter: the session can then decode all calls faster.
    """
    exact = {name for name, method in methods_of(hub).items() if method.exact}
    return (lambda target: normalized(target) in exact) if exact else None


def normalized(name: str) -> str:
    """Return a method name in lower case and without `_`. Two names with the same result mean the same method."""
    return name.replace("_", "").lower()


def read_method(hub: type[HubBase], name: str, function: types.FunctionType) -> HubMethod:
    """Return the description of a method of a hub class.

    Raises:
        TypeError: clients cannot call the method because of its parameters.
    """
    where = f"{hub.__name__}.{name}"
    hints, signature = read_function(where, function)
    parameters = []
    required = 0
    hints = {each: _bare(hint) for each, hint in hints.items()}
    for parameter in signature[1:]:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"{where}: clients cannot give '{parameter}': parameters go by position")
        hint = hints.get(parameter.name, Any)
        is_stream = _is_stream(hint)
        wanted = next(iter(get_args(hint)), Any) if is_stream else hint
        parameters.append(HubParameter(parameter.name, wanted, is_stream, default=parameter.default))
        required += parameter.default is inspect.Parameter.empty and not is_stream
    return HubMethod(
        name=name,
        streams=inspect.isasyncgenfunction(function) or _is_stream(hints.get("return")),
        parameters=tuple(parameters),
        arguments=sum(not parameter.is_stream for parameter in parameters),
        required=required,
        exact=any(needs_exact(parameter.type) for parameter in parameters),
    )


def _bare(hint: Any) -> Any:
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def _is_stream(hint: Any) -> bool:
    return get_origin(hint) in _STREAMS or hint in _STREAMS
