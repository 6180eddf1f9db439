"""Sphinx configuration."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinxcontrib.mermaid import Mermaid

from signalr_sdk._core import lifecycle
from signalr_sdk_cli import main as signalr
from signalr_sdk_cli.commands import COMMANDS, Commands

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "signalr-sdk"
author = copyright = "signalr-sdk contributors"
version = release = importlib.metadata.version("signalr-sdk")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"signalr-sdk {version}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# A class may have its namesake in `signalr_sdk.sync`; the first is what an annotation means.
suppress_warnings = ["ref.python"]
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
napoleon_preprocess_types = False
# What runs are the examples with prompts, in docstrings and pages alike.
doctest_test_doctest_blocks = "default"
trim_doctest_flags = True
doctest_global_setup = """
from signalr_sdk import *
from signalr_sdk.delivery import *
from signalr_sdk.messages import *
"""


class LifecycleDiagram(Mermaid):
    """The diagram of the state machine, drawn from the table that the code runs on."""

    has_content = False
    required_arguments = 0
    optional_arguments = 0

    def run(self, **options: Any) -> list[nodes.Node]:
        """Return the diagram."""
        self.arguments = []
        self.content.data = lifecycle.diagram().splitlines()
        self.content.items = [("lifecycle", index) for index in range(len(self.content.data))]
        drawn: list[nodes.Node] = super().run(**options)
        return drawn


class CommandHelp(SphinxDirective):
    """The help of `signalr` and of all its commands, as the commands print it: a section for each."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        group = Commands(name="signalr")
        paths: list[tuple[str, ...]] = [()]
        for name in COMMANDS:
            more = getattr(group.get_command(None, name), "commands", ())
            paths += [(name,), *((name, each) for each in more)]
        return [self._section(path) for path in paths]

    def _section(self, path: tuple[str, ...]) -> nodes.Node:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            signalr([*path, "--help"])
        title = " ".join(["signalr", *path])
        section = nodes.section(ids=[title.replace(" ", "-")])
        section += nodes.title(text=title)
        section += nodes.literal_block(text=printed.getvalue().rstrip(), language="text")
        return section


_FENCE = re.compile(r"^( *)```(\w*)$")
_CODE = re.compile(r"(?<![`:\\])`([^`\n]+)`(?!`)(?=(\w?))")


def from_markdown(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Turn the Markdown of docstrings, fences and single backticks, into what Sphinx reads."""
    done = []
    fenced = False
    for line in lines:
        if fence := _FENCE.match(line):
            fenced = not fenced
            done += [f"{fence[1]}.. code-block:: {fence[2] or 'text'}", ""] if fenced else [""]
        elif fenced:
            done.append(f"    {line}" if line else "")
        else:
            done.append(_CODE.sub(lambda found: f"``{found[1]}``" + ("\\ " if found[2] else ""), line))
    lines[:] = done


def setup(app: Sphinx) -> None:
    """Make the directives known, and come before napoleon, which reads docstrings as reStructuredText."""
    app.add_directive("lifecycle-diagram", LifecycleDiagram)
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", from_markdown, priority=400)
