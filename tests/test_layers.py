"""The imports of the package point downwards only, and the pure part stays pure: read from the syntax tree."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "signalr_sdk"
SOURCE = ROOT / "sdk" / PACKAGE

# From the bottom up. A name stands for a module, or for a package and all that is in it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "options", "messages", "interfaces", "retry"}),
    frozenset({"protocols"}),
    frozenset({"_core"}),
    frozenset({"_typed"}),
    frozenset({"_guard"}),
    frozenset({"_http"}),
    frozenset({"_transports"}),
    frozenset({"_connecting"}),
    frozenset({"_sending", "_receiving"}),
    frozenset({"_life"}),
    frozenset({"_hub"}),
    frozenset({""}),  # the package's own __init__
    # Below `sync`, which has twins of their classes.
    frozenset({"azure", "classic"}),
    frozenset({"delivery"}),
    frozenset({"fleet"}),
    frozenset({"sync"}),
    frozenset({"testing"}),
    frozenset({"cli"}),
)
PURE = LAYERS[0] | LAYERS[1] | LAYERS[2] | LAYERS[3]
PURE_MODULES = frozenset(
    f"{room}.{name}"
    for room, names in {
        "azure": ("connection_string", "names", "payloads", "rest_responses", "tokens", "upstream"),
        "classic": (
            "cursors",
            "envelopes",
            "hub_messages",
            "hubs_script",
            "json_codec",
            "negotiation",
            "request_urls",
            "session",
            "silence",
        ),
        "delivery": ("arguments", "entry", "kept_values", "schedule", "sequence", "stores"),
    }.items()
    for name in names
)

# What would bring I/O, threads or a clock into the pure part.
IMPURE = frozenset(
    {
        "asyncio", "concurrent", "contextvars", "http", "multiprocessing", "queue", "sched", "select", "selectors",
        "signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time", "urllib.request",
    }
)  # fmt: skip
STANDARD = sys.stdlib_module_names | {"annotationlib"}  # which is there from Python 3.14 on
# What the pure part may import beside the standard library; at the top of a module where the second is true.
FOREIGN = {"attrs": True, "orjson": True, "msgpack": True, "cattrs": False, "tenacity": False, "jwt": False}
# Each foreign library has its place, so that its exceptions are translated in one module.
PLACES = {
    "aiohttp": {"_http", "testing"},
    "httpx": {"_http.httpx_client"},
    "orjson": {"protocols"},
    "msgpack": {"protocols", "delivery.kept_values"},
    "cattrs": {"_typed"},
    "tenacity": {"retry", "_http", "_transports", "azure"},
    "jwt": {"azure"},
    "redis": {"fleet.redis_client"},
    "typer": {"cli"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "matplotlib": {"cli"},
}


@attrs.frozen
class Import:
    """One imported module, as one module of the package imports it."""

    importer: str
    target: str  # absolute; of our own modules without the package's name, with a dot in front
    line: int
    lazy: bool
    commented: bool

    def __str__(self) -> str:
        return f"{PACKAGE}.{self.importer}, line {self.line}: {self.target}"

    @property
    def ours(self) -> bool:
        return self.target.startswith(".")


class _Imports(ast.NodeVisitor):
    """Collects the imports that run: not those for type checkers."""

    def __init__(self, module: str, *, is_package: bool, text: str, modules: frozenset[str]) -> None:
        self.found: list[Import] = []
        self._module = module
        self._package = module if is_package else module.rpartition(".")[0]
        self._lines = text.splitlines()
        self._modules = modules
        self._depth = 0
        self._last: tuple[int, bool] | None = None  # where the import before ended, and whether it was commented

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  # the name is ast's

    def visit_Import(self, node: ast.Import) -> None:
        commented = self._commented(node)
        for alias in node.names:
            self._add(node, alias.name, commented=commented)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0:
            base = node.module or ""
        else:
            parts = [PACKAGE, *self._package.split(".")] if self._package else [PACKAGE]
            parts = parts[: len(parts) - (node.level - 1)]
            base = ".".join([*parts, node.module] if node.module else parts)
        commented = self._commented(node)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            is_module = inner.removeprefix(f"{PACKAGE}.") in self._modules and inner.startswith(f"{PACKAGE}.")
            self._add(node, inner if is_module else base, commented=commented)

    def _add(self, node: ast.stmt, name: str, *, commented: bool) -> None:
        if name == PACKAGE or name.startswith(f"{PACKAGE}."):
            name = "." + name.removeprefix(PACKAGE).removeprefix(".")
        found = Import(self._module, name, node.lineno, self._depth > 0, commented)
        if found not in self.found:
            self.found.append(found)

    def _commented(self, node: ast.stmt) -> bool:
        """Return whether a comment stands at the end of the import, above it, or above those right above it."""
        above = self._last
        self._last = (node.end_lineno or node.lineno, self._commented_itself(node))
        if not self._last[1] and above is not None and above[0] == node.lineno - 1:
            self._last = (self._last[0], above[1])
        return self._last[1]

    def _commented_itself(self, node: ast.stmt) -> bool:
        own = re.sub(r"#\s*(noqa|type: ignore)\S*", "", " ".join(self._lines[node.lineno - 1 : node.end_lineno]))
        return "#" in own or self._lines[node.lineno - 2].strip().startswith("#")


def module_name(path: Path, source: Path = SOURCE) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read(source: Path = SOURCE) -> list[Import]:
    paths = sorted(source.rglob("*.py"))
    modules = frozenset(module_name(path, source) for path in paths)
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        visitor = _Imports(module_name(path, source), is_package=path.name == "__init__.py", text=text, modules=modules)
        visitor.visit(ast.parse(text))
        found += visitor.found
    return found


def layer(module: str) -> int | None:
    top = module.removeprefix(".").partition(".")[0]
    return next((index for index, names in enumerate(LAYERS) if top in names), None)


def is_pure(module: str) -> bool:
    return module in PURE_MODULES or (module != "" and module.partition(".")[0] in PURE)


def wrong_directions(imports: list[Import]) -> list[str]:
    return [str(i) for i in imports if i.ours and (layer(i.target) or 0) > (layer(i.importer) or 0)]


def impure(imports: list[Import]) -> list[str]:
    wrong = []
    for i in imports:
        if i.ours or not is_pure(i.importer):
            continue
        top = i.target.partition(".")[0]
        if top in STANDARD:
            if top in IMPURE or i.target in IMPURE:
                wrong.append(str(i))
        elif top not in FOREIGN or not (FOREIGN[top] or i.lazy):
            wrong.append(str(i))
    return wrong


def misplaced(imports: list[Import]) -> list[str]:
    wrong = []
    for i in imports:
        places = PLACES.get(i.target.partition(".")[0])
        if places is not None and not any(i.importer == p or i.importer.startswith(f"{p}.") for p in places):
            wrong.append(str(i))
    return wrong


def unexplained(imports: list[Import]) -> list[str]:
    return [str(i) for i in imports if i.lazy and not i.commented]


def cycles(imports: list[Import]) -> list[str]:
    """Return a path for each module that comes back to itself. The package's `__init__` counts like any other."""
    edges: dict[str, set[str]] = {}
    for i in imports:
        if i.ours:
            edges.setdefault(i.importer, set()).add(i.target.removeprefix("."))
    wrong = []
    for start in edges:
        seen: set[str] = set()
        paths: list[tuple[str, ...]] = [(start,)]
        while paths:
            path = paths.pop()
            for target in edges.get(path[-1], ()):
                if target == start:
                    wrong.append(" -> ".join([*path, start]))
                elif target not in seen:
                    seen.add(target)
                    paths.append((*path, target))
    return wrong


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return read()


def test_every_module_has_its_layer() -> None:
    homeless = [name for name in map(module_name, sorted(SOURCE.rglob("*.py"))) if layer(name) is None]
    assert homeless == [], "give them a place in LAYERS"


def test_imports_point_downwards(imports: list[Import]) -> None:
    assert wrong_directions(imports) == []


def test_there_are_no_cycles(imports: list[Import]) -> None:
    assert cycles(imports) == []


def test_the_pure_part_imports_no_io(imports: list[Import]) -> None:
    assert impure(imports) == []


def test_foreign_libraries_stay_in_their_place(imports: list[Import]) -> None:
    assert misplaced(imports) == []


def test_imports_inside_functions_say_why(imports: list[Import]) -> None:
    assert unexplained(imports) == []


def test_no_module_is_called_as_a_library_is() -> None:
    libraries = STANDARD | PLACES.keys() | FOREIGN.keys()
    names = {path: path.stem if path.stem != "__init__" else path.parent.name for path in SOURCE.rglob("*.py")}
    assert [path.name for path, name in names.items() if name in libraries] == []


def test_the_picture_of_the_house_names_what_there_is() -> None:
    """docs/development/architecture.md leads newcomers from file to file."""
    text = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w*\.py|\w+/)`", text))
    assert len(named) > 30
    assert sorted(name for name in named if not (SOURCE / name).exists() and not (ROOT / name).exists()) == []
    rooms = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    assert rooms - named == set()


# The rules themselves


def check(tmp_path: Path, rule: object, **files: str) -> list[str]:
    source = tmp_path / PACKAGE
    for name, text in {"__init__": "", **files}.items():
        path = source / f"{name.replace('__dot__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert callable(rule)
    found: list[str] = rule(read(source))
    return found


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        (wrong_directions, {"errors": "from .retry import x\nfrom . import _core", "_core": ""}),
        (wrong_directions, {"_core__dot__urls": "from ..sync import x", "sync": ""}),
        (wrong_directions, {"_connection": "from signalr_sdk import Limits"}),
        (cycles, {"errors": "from .retry import x", "retry": "def f():\n    # why\n    import signalr_sdk.errors"}),
        (impure, {"errors": "import socket"}),
        (impure, {"protocols__dot__values": "def f():\n    import threading  # why"}),
        (impure, {"retry": "import tenacity"}),
        (impure, {"_core__dot__urls": "import aiohttp"}),
        (misplaced, {"_transports__dot__web_sockets": "from aiohttp import web"}),
        (unexplained, {"sync": "def f():\n    import cattrs  # noqa: X1"}),
    ],
)
def test_what_breaks_a_rule_is_found(tmp_path: Path, rule: object, files: dict[str, str]) -> None:
    assert len(check(tmp_path, rule, **files)) >= 1


@pytest.mark.parametrize("rule", [wrong_directions, cycles, impure, misplaced, unexplained])
def test_what_is_allowed_is_not(tmp_path: Path, rule: object) -> None:
    allowed = {
        "errors": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio\n    from .sync import x",
        "retry": "from .errors import x\ndef f():\n    # heavy\n    import tenacity\n    import json\n",
        "_core__dot__urls": "import urllib.parse\nimport attrs\nfrom ..errors import x\n",
        "sync": "from . import errors\nimport signalr_sdk\n",
    }
    assert check(tmp_path, rule, **allowed) == []
