"""Finds the methods of a classic hub that clients can call: overloads, names from `@method`, progress."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from ..._typed.marks import METHOD_MARK, mark_of
from ...protocols.values import pascal
from ..hub_methods import RESERVED, HubMethod, normalized, public_functions, read_method

if TYPE_CHECKING:
    from .hubs import ClassicHub

_PROGRESS = "progress"
_RESERVED = RESERVED | {"on_reconnected"}


@attrs.frozen
class ClassicMethod:
    """A method of a hub class that clients can call.

    Attributes:
        name: the name for clients.
        method: the description of the method, without the parameter for progress.
        progress: where the function for progress stands among the arguments; `None` if the method wants none.
    """

    name: str
    method: HubMethod
    progress: int | None

    @property
    def signature(self) -> str:
        """The method as error texts show it: `Add(a, b)`."""
        return f"{self.name}({', '.join(parameter.name for parameter in self.method.parameters)})"


def classic_methods(hub: type[ClassicHub]) -> dict[str, list[ClassicMethod]]:
    """Return a dict of the methods that clients can call: lists of overloads, by the names in `call_name`'s form.

    Raises:
        TypeError: clients of a classic server cannot call a method, or two overloads have as many parameters.
    """
    return _classic_methods(hub)  # type: ignore[arg-type] # mypy looks at ClassicHub.__hash__, not type.__hash__


def call_name(name: str) -> str:
    """Return the form of a method name under which `classic_methods` has it."""
    return normalized(name)


@lru_cache(maxsize=256)
def _classic_methods(hub: type[ClassicHub]) -> dict[str, list[ClassicMethod]]:
    found: dict[str, list[ClassicMethod]] = {}
    for name, function in public_functions(hub, _RESERVED):
        method = _without_progress(_name(hub, name), read_method(hub, name, function))
        if method.method.streams or any(parameter.is_stream for parameter in method.method.parameters):
            raise TypeError(f"{hub.__name__}.{name}: classic SignalR has no streams")
        overloads = found.setdefault(call_name(method.name), [])
        if any(other.method.arguments == method.method.arguments for other in overloads):
            raise TypeError(f"{hub.__name__}: two methods {method.signature} are the same to clients")
        overloads.append(method)
    return found


def _name(hub: type[ClassicHub], name: str) -> str:
    mark = mark_of(hub, name, METHOD_MARK)
    return pascal(name) if mark is None or mark.name is None else mark.name


def _without_progress(name: str, method: HubMethod) -> ClassicMethod:
    names = [parameter.name for parameter in method.parameters]
    if _PROGRESS not in names:
        return ClassicMethod(name, method, None)
    place = names.index(_PROGRESS)
    kept = (*method.parameters[:place], *method.parameters[place + 1 :])
    changed = attrs.evolve(method, parameters=kept, arguments=len(kept), required=min(method.required, len(kept)))
    return ClassicMethod(name, changed, place)
