"""The file of named contexts: hubs with the options to connect to them, which `signalr context` manages.

The file belongs to the user alone (mode 0600), because a header in it may be a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import typer

from .exit_status import WRONG_USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


@attrs.frozen(kw_only=True)
class SavedContext:
    """A hub, and the options to connect to it, as they were written on the command line.

    Attributes:
        url: URL of the hub.
        token_file: file with the bearer token.
        header: headers, each `NAME: VALUE` or `@FILE`.
        protocol: name of the hub protocol.
        transport: names of the allowed transports.
        ca: file with a certificate authority to trust.
        insecure: whether the server's certificate is not verified.
        proxy: URL of an HTTP proxy.
    """

    url: str
    token_file: str | None = None
    header: tuple[str, ...] = attrs.field(default=(), converter=_texts, repr=False)
    protocol: str | None = None
    transport: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    ca: str | None = None
    insecure: bool = False
    proxy: str | None = attrs.field(default=None, repr=False)


def config_file(name: str) -> Path:
    """Return the path of a file in the user's folder for the settings of `signalr`."""
    return Path(typer.get_app_dir("signalr")) / name


def saved_contexts() -> dict[str, SavedContext]:
    """Read and return all contexts by their names. A file that cannot be read ends the command."""
    path = config_file("contexts.json")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): SavedContext(**values) for name, values in stored.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # Show no text of the file: it may hold secrets.
        why = error.strerror if isinstance(error, OSError) else "it is not the JSON of contexts"
        fail(WRONG_USAGE, f"cannot read {path}: {why}; mend or remove the file")


def saved_context(name: str) -> SavedContext:
    """Return the context with this name. A name that is not there ends the command."""
    contexts = saved_contexts()
    if name not in contexts:
        others = f"there are {', '.join(contexts)}" if contexts else "add one with signalr context add NAME URL"
        fail(WRONG_USAGE, f"there is no context {name!r}; {others}")
    return contexts[name]


def save_contexts(contexts: dict[str, SavedContext]) -> None:
    """Write all contexts to the file, which the user alone can read. A failure ends the command."""
    path = config_file("contexts.json")
    stored = {name: _given(context) for name, context in contexts.items()}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # `mkstemp` gives the file the mode 0600. Replace the old file in one step: a command that reads the contexts at
        # the same time must not find half a file.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix="contexts")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(stored, file, indent=2)
            Path(temporary).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        fail(WRONG_USAGE, f"cannot write {path}: {error.strerror or error}; check who may write there")


def _given(context: SavedContext) -> dict[str, Any]:
    return attrs.asdict(context, filter=lambda _field, value: value not in (None, (), False))


def checked_name(name: str) -> str:
    """Return the name of a context; a name that would be hard to type ends the command."""
    if not _NAME.fullmatch(name):
        fail(WRONG_USAGE, f"{name!r} is no name for a context; write letters, digits, . _ or -")
    return name
