"""The reference has every public name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
MODULES = [
    "signalr_sdk",
    *(
        f"signalr_sdk.{name}"
        for name in (
            *(
                "azure",
                "classic",
                "delivery",
                "errors",
                "fleet",
                "interfaces",
                "messages",
                "options",
                "protocols",
                "retry",
                "sync",
            ),
            "testing",
        )
    ),
]
_DIRECTIVE = re.compile(
    r"^\.\. (?:currentmodule:: (?P<current>\S+)|auto(?P<kind>\w+):: (?P<what>\S+)(?P<options>(?:\n +:.*)*))",
    re.MULTILINE,
)


# Aliases, which look as if they came from where what they are made of is from.
ALIASES = {"signalr_sdk.interfaces": ["Handler", "TokenProvider"]}


def public(name: str) -> list[str]:
    """Return the public names of a module."""
    module = importlib.import_module(name)
    return getattr(module, "__all__", None) or [
        *ALIASES.get(name, []),
        *_defined(module),
    ]


def _defined(module: ModuleType) -> list[str]:
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def documented() -> dict[int, list[str]]:
    """Return where each public object is documented, by its identity."""
    found: dict[int, list[str]] = {}
    for page in sorted(REFERENCE.glob("*.md")):
        current = ""
        for match in _DIRECTIVE.finditer(page.read_text(encoding="utf-8")):
            if match["current"]:
                current = match["current"]
                continue
            if match["kind"] == "module":
                options = match["options"]
                excluded = re.search(r":exclude-members: (.+)", options)
                left_out = [] if excluded is None else re.split(r"[, ]+", excluded[1])
                names = [(match["what"], name) for name in public(match["what"]) if name not in left_out]
            else:
                module, _, name = match["what"].rpartition(".")
                names = [(module or current, name)]
            for module, name in names:
                found.setdefault(id(getattr(importlib.import_module(module), name)), []).append(page.name)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    there = documented()
    names = public(module)
    assert names
    missing = [name for name in names if id(getattr(importlib.import_module(module), name)) not in there]
    assert missing == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_says_what_it_is(module: str) -> None:
    loaded = importlib.import_module(module)
    classes = [getattr(loaded, name) for name in public(module) if isinstance(getattr(loaded, name), type)]
    without = [
        f"{found.__name__}.{key}"
        for found in classes
        for key, value in [("", found), *vars(found).items()]
        if not key.startswith("_") and (callable(value) or isinstance(value, property)) and not value.__doc__
    ]
    assert without == []
