"""Sends one request for each of many users, groups or connections, up to 16 requests at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from .._guard.tasks import run_side_by_side
from ..errors import AzureSignalRError

_AT_ONCE = 16
_NAMED = 5  # so many targets are named in the error text


async def fan_out(what: str, targets: Sequence[str], call: Callable[[str], Awaitable[None]]) -> None:
    """Send one request for each user, group or connection in `targets`. A failed request does not stop the others.

    If `fan_out` is cancelled, the running requests are cancelled.

    Args:
        what: the kind of the targets in error texts: `user`, `group` or `connection`.
        targets: the users, groups or connection ids, all different.
        call: sends the request for one target.

    Raises:
        ExceptionGroup: some requests failed. The group has one `AzureSignalRError` for each failed request, in the
            order of the targets. The attribute `target` of each error is the user, group or connection id.
    """
    waiting = iter(targets)
    failures: dict[str, AzureSignalRError] = {}
    workers = (_work(waiting, call, failures) for _ in range(min(_AT_ONCE, len(targets))))
    await run_side_by_side(workers, "azure request")
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
