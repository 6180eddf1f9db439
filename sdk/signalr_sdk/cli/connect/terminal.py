"""`signalr connect` on a terminal: a line to edit, with history and completion, and events above the line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from ..._core.redaction import printable
from ..colors import paint, paint_json, stdout_has_colors
from ..json_output import as_json
from ..saved_contexts import config_file
from .lines import CALLS, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

    from .session import Session

_LONGEST_HISTORY = 256 * 1024  # bytes


class TerminalScreen:
    """Prints above the line that the user edits."""

    def __init__(self) -> None:
        self._has_colors = stdout_has_colors()

    async def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """See `Screen`."""
        shown = ", ".join(self._json(argument) for argument in arguments)
        self._print(f"{self._paint(printable(name), 'cyan')}({shown})")

    async def result(self, method: str, value: Any) -> None:
        """See `Screen`."""
        self._print(self._json(value))

    async def item(self, method: str, value: Any) -> None:
        """See `Screen`."""
        self._print(self._json(value))

    async def ended(self, method: str, count: int) -> None:
        """See `Screen`."""
        self._print(self._paint(f"{method}: end of the stream, {count} items", "dim"))

    async def sent(self, method: str) -> None:
        """See `Screen`."""
        self._print(self._paint(f"{method}: sent", "dim"))

    async def failed(self, what: str, why: str) -> None:
        """See `Screen`."""
        self._print(self._paint(printable(why), "red"))

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._print(self._paint(printable(text, keep="\n"), "dim"))

    def _json(self, value: Any) -> str:
        return paint_json(as_json(value)) if self._has_colors else as_json(value)

    def _paint(self, text: str, color: str) -> str:
        return paint(text, color) if self._has_colors else text

    def _print(self, text: str) -> None:
        # While `patch_stdout` is in force, this prints above the line that the user edits.
        print(text, flush=True)  # noqa: T201


class UsedWords(Completer):
    """Completes the words with which a line begins, and the methods and events that were used."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: object) -> Iterator[Completion]:
        """Yield the words that may stand at the cursor."""
        before = document.text_before_cursor.lstrip()
        first, blank, rest = before.partition(" ")
        if not blank:
            candidates, typed = [*self._session.methods, *Verb], first
        elif " " in rest:
            return
        elif first in CALLS:
            candidates, typed = list(self._session.methods), rest
        elif first in (Verb.ON, Verb.OFF, Verb.ANSWER):
            candidates, typed = list(self._session.events), rest
        else:
            return
        for word in candidates:
            if word.lower().startswith(typed.lower()):
                yield Completion(word, start_position=-len(typed))


async def run_terminal(session: Session, name: str) -> None:
    """Read lines from the terminal and run them, until the user ends the command.

    Args:
        session: runs the lines.
        name: a short name of the hub, for the prompt.

    Raises:
        KeyboardInterrupt: Ctrl-C on an empty line, while no call runs.
    """
    prompt: PromptSession[str] = PromptSession(
        history=_history(config_file("history")), completer=UsedWords(session), complete_while_typing=False
    )

    def message() -> str:
        return f"{name}> " if session.is_connected else f"{name} (no connection)> "

    with patch_stdout(raw=True):
        while True:
            try:
                # The prompt shows whether there is a connection. Each note about the connection draws it again.
                text = await prompt.prompt_async(message)
            except EOFError:
                return
            except KeyboardInterrupt:
                if session.cancel_calls() or prompt.default_buffer.text:
                    continue
                raise
            if text.split(maxsplit=1)[:1] in (["exit"], ["quit"]):
                return
            _ = session.start_line(text)


def _history(path: Path) -> History:
    """Return the history in a file that the user alone can read; a history in memory if the file cannot be used."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if path.stat().st_size > _LONGEST_HISTORY:
            kept = path.read_bytes()[-_LONGEST_HISTORY // 2 :]
            # An entry begins with a line `# time`.
            path.write_bytes(kept[kept.find(b"\n#") :])
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
