"""One request for each of many: side by side, but not all at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import AzureSignalRError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

_AT_ONCE = 16
_NAMED = 5  # of those that were not reached, in the text of the error


async def fan_out(what: str, targets: Sequence[str], call: Callable[[str], Awaitable[None]]) -> None:
    """Call for each target; all are tried, whatever becomes of others. Cancelling it cancels those that run.

    Args:
        what: a target is, for errors.
        targets: whom to call for, each once.
        call: sends one request.

    Raises:
        ExceptionGroup: of one `AzureSignalRError` for each target that was not reached, in their order; has that as its
            `target`.
    """
    waiting = iter(targets)
    failures: dict[str, AzureSignalRError] = {}
    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(targets))):
            group.create_task(_work(waiting, call, failures))
    if failures:
        failed = [failures[target] for target in targets if target in failures]
        some = ", ".join(repr(error.target) for error in failed[:_NAMED])
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise ExceptionGroup(f"{len(failed)} of {len(targets)} {what}s were not reached: {some}{more}", failed)


async def _work(
    waiting: Iterator[str], call: Callable[[str], Awaitable[None]], failures: dict[str, AzureSignalRError]
) -> None:
    for target in waiting:
        try:
            await call(target)
        except AzureSignalRError as error:
            error.target = target
            failures[target] = error
