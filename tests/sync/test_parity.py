"""What works with `await` works from threads: the same names, parameters, defaults and docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import signalr_sdk
from signalr_sdk import azure, classic, delivery, sync
from signalr_sdk.sync import classic as sync_classic

CLASSIC = {name: f"classic.{name}" for name in ("HubConnection", "HubProxy", "PersistentConnection")}
CLASSES = sorted([*sync.__all__, *CLASSIC.values()])
# How the special methods of one side are called on the other.
TWINS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
SPECIAL = {*TWINS, *TWINS.values(), "__init__"}
# Made by the connection only, so their constructors are no one's business.
MADE = {"HubProxy", "Stream", "Messages"}
# `Upload` is iterated over by the asyncio connection; the one for threads is not.
ALONE = {("Upload", "__aiter__")}
# Where threads need other words: a wait is interrupted instead of cancelled, a handler is a plain function.
OWN_WORDS = {
    "AzureSignalR": {"close"},
    "Connection": {"send", "start", "stop"},
    "Feed": set(),
    "HubConnection": {
        "events",
        "invoke",
        "on",
        "on_setup",
        "proxy",
        "reconnect",
        "register",
        "run",
        "send",
        "start",
        "stop",
    },
    "classic.HubConnection": {"on_setup", "reconnect", "run", "start", "stop"},
    "classic.HubProxy": {"events", "invoke", "on", "proxy", "register"},
    "classic.PersistentConnection": {"on_received", "on_setup", "reconnect", "run", "start", "stop"},
    "Messages": {"next"},
    "Outbox": {"on_dead", "on_delivered", "put", "run"},
    "Stream": {"next"},
    "Upload": {"send"},
}
ASYNCIO_WORDS = re.compile(r"await|async (for|with|def|iter)|StopAsync|cancelling it|__a(next|enter)", re.IGNORECASE)


def public(cls: type) -> dict[str, Any]:
    """Return the public members, also inherited ones, by the names of the side with threads."""
    return {
        TWINS.get(name, name): inspect.getattr_static(cls, name)
        for name in dir(cls)
        if (not name.startswith("_") or name in SPECIAL)
        and hasattr(object, name) <= (name == "__init__")
        and (cls.__name__, name) not in ALONE
    }


def parameters(member: Any) -> list[tuple[str, Any, Any]]:
    """Return name, kind and default of each parameter."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    return [(each.name, each.kind, each.default) for each in inspect.signature(member).parameters.values()]


def differences(of_asyncio: type, of_threads: type) -> list[str]:
    """Return what one class has and the other has not, or has otherwise."""
    theirs, ours = public(of_asyncio), public(of_threads)
    found = [f"only one of them has {name}" for name in sorted(theirs.keys() ^ ours.keys())]
    for name in sorted(theirs.keys() & ours.keys()):
        if name == "__init__" and of_asyncio.__name__ in MADE:
            continue
        if callable(theirs[name]) != callable(ours[name]):
            found.append(f"{name} is a method of one of them only")
        elif callable(theirs[name]) and parameters(theirs[name]) != parameters(ours[name]):
            found.append(f"{name}: {inspect.signature(theirs[name])} and {inspect.signature(ours[name])}")
    return found


def test_every_class_has_its_twin() -> None:
    found = vars(signalr_sdk) | vars(azure) | vars(delivery)
    twins = {name for name, value in found.items() if isinstance(value, type) and is_asyncio(value)}
    for name, value in vars(classic).items():
        if isinstance(value, type) and is_asyncio(value):
            twins.add(f"classic.{name}")
    assert twins == set(CLASSES)


def test_discover_has_its_twin() -> None:
    assert classic.__all__ == ["ClassicHubError", "CoreServerError", *sync_classic.__all__]
    assert parameters(classic.discover) == parameters(sync_classic.discover)


def of_asyncio(name: str) -> Any:
    """Return the class that a class for threads is the twin of."""
    if name.startswith("classic."):
        return getattr(classic, name.removeprefix("classic."))
    return next(getattr(module, name) for module in (signalr_sdk, azure, delivery) if hasattr(module, name))


def of_threads(name: str) -> Any:
    """Return the class for threads."""
    return getattr(sync_classic if name.startswith("classic.") else sync, name.removeprefix("classic."))


def is_asyncio(cls: type) -> bool:
    """Return whether it is one of ours that has something to await."""
    rooms = ("_", "azure.", "classic.", "delivery.")
    inside = cls.__module__.startswith(tuple(f"signalr_sdk.{room}" for room in rooms))
    # Programs with threads give a store to an outbox or a feed, and call nothing of it.
    return (
        inside
        and not cls.__name__.endswith("Store")
        and any(inspect.iscoroutinefunction(getattr(cls, member, None)) for member in dir(cls))
    )


@pytest.mark.parametrize("name", CLASSES)
def test_twins_are_alike(name: str) -> None:
    assert differences(of_asyncio(name), of_threads(name)) == []


@pytest.mark.parametrize("name", CLASSES)
def test_twins_say_the_same(name: str) -> None:
    theirs, ours = public(of_asyncio(name)), public(of_threads(name))
    documented = {member: ours[member].__doc__ for member in ours if not member.startswith("_")}
    assert all(documented.values())
    assert {member for member, text in documented.items() if text != theirs[member].__doc__} == OWN_WORDS[name]
    assert [member for member, text in documented.items() if ASYNCIO_WORDS.search(text)] == []


@pytest.mark.parametrize("name", CLASSES)
def test_twins_describe_the_same_arguments(name: str) -> None:
    assert described_arguments(of_asyncio(name)) == described_arguments(of_threads(name))


def described_arguments(cls: type) -> list[str]:
    """Return the parameters of the constructor that the docstring of the class describes."""
    text = cls.__doc__ or ""
    return [name for name in inspect.signature(cls).parameters if re.search(rf"^ {{8}}{name}: ", text, re.MULTILINE)]


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_is_to_be_awaited(name: str) -> None:
    cls = of_threads(name)
    asynchronous = [name for name, member in public(cls).items() if inspect.iscoroutinefunction(member)]
    assert asynchronous == []
    assert not any(hasattr(cls, special) for special in TWINS)


# The comparison itself


class One:
    """The side with asyncio."""

    def __init__(self, *, a: int = 1) -> None: ...

    async def same(self, x: int = 1) -> None: ...

    async def other_default(self, x: int = 1) -> None: ...

    async def other_name(self, x: int) -> None: ...

    async def other_kind(self, *, x: int) -> None: ...

    async def missing(self) -> None: ...

    @property
    def state(self) -> int:
        return 1


class Two:
    """The side with threads."""

    def __init__(self, *, a: int = 2) -> None: ...

    def same(self, x: int = 1) -> None: ...

    def other_default(self, x: int = 2) -> None: ...

    def other_name(self, y: int) -> None: ...

    def other_kind(self, x: int) -> None: ...

    def more(self) -> None: ...

    def state(self) -> int:
        return 1


def test_differences_are_found() -> None:
    found = differences(One, Two)
    assert [text.split()[-1] for text in found[:2]] == ["missing", "more"]
    wrong = ["__init__", "other_default", "other_kind", "other_name", "state"]
    assert [text.split()[0].rstrip(":") for text in found[2:]] == wrong
