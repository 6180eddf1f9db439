"""The faults of the test server: failures that a test asks for, and what each failure does to a request or frame.

A frame is data that the server receives or sends in one piece, such as a WebSocket message. A `Fault` has a
`FaultFilter`, which says where the fault happens, and an action, which says what happens. The server awaits
`ActiveFaults.apply` at each `FaultPoint`: the matching faults act one after another, in the order in which they were
made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypeAlias

import attrs
from aiohttp import web

from .connection_buffers import NO_RULE, FrameRule
from .tcp_listener import drop_tcp
from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .fault_points import FaultFilter, FaultSite


FaultAction: TypeAlias = "Callable[[Fault, FaultSite], Awaitable[None]]"


@attrs.define(eq=False)
class Fault:
    """A failure that a test has asked the test server for, with a method of `HubServer.faults`.

    The fault ends at the end of its `with` block, by `end()` or `HubServer.faults.clear()`, or when the server stops.
    If the method got the argument `times`, the fault hits only this number of requests, frames or pings.

    Attributes:
        happened: how often the fault has happened.
    """

    _filter: FaultFilter
    _end: Callable[[Fault], None]
    _action: FaultAction | None = attrs.field(default=None, kw_only=True)
    _left: int | None = attrs.field(default=None, kw_only=True)
    _rule: FrameRule = attrs.field(default=NO_RULE, kw_only=True)
    _on_end: Callable[[], None] | None = attrs.field(default=None, kw_only=True)
    _has_ended: bool = attrs.field(default=False, init=False)
    _held: Waiters = attrs.field(factory=Waiters, init=False)
    happened: int = attrs.field(default=0, init=False)

    def end(self) -> None:
        """End the fault: the server goes on with the requests and frames that the fault holds.

        May be called from any thread, and more than once.
        """
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    async def wait_ended(self) -> None:
        """Return when the fault has ended. Only on the server's event loop.

        The action `stall` awaits this method to hold a request or frame.
        """
        while not self._has_ended:
            await self._held.wait()

    def matches(self, site: FaultSite) -> bool:
        """Return whether the fault hits the request, frame or connection that `site` describes.

        Args:
            site: the request or connection, and the point that the server has reached.
        """
        return self._left != 0 and self._filter.matches(site)

    @property
    def rule(self) -> FrameRule:
        """The `FrameRule` by which the fault joins or splits the bytes to a client; `NO_RULE` for other faults."""
        return self._rule

    async def act(self, site: FaultSite) -> None:
        """Run the fault's action (such as a delay) on a request or frame. Return when the server may go on with it."""
        if self._action is not None:
            await self._action(self, site)

    @property
    def is_spent(self) -> bool:
        """Whether the fault has hit all the requests and frames that it may hit (`times`), and holds none of them."""
        return self._left == 0 and not self._held

    def count(self) -> None:
        """Add 1 to `happened`, and subtract 1 from the number of hits that the limit `times` still allows."""
        self.happened += 1
        if self._left is not None:
            self._left -= 1

    def release(self) -> None:
        """Mark the fault as ended, and let the requests and frames that it holds go on."""
        self._has_ended = True
        if self._on_end is not None:
            self._on_end()
        self._held.wake()


class ActiveFaults:
    """The faults of the server that have not ended. Used only on the server's event loop.

    Args:
        changed: called after a fault was added or removed. Data that a removed fault held back can then be sent.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._faults: list[Fault] = []
        self._changed = changed

    def add(self, fault: Fault) -> None:
        """Put a fault in force. Older faults act before this fault.

        Also forget older faults that can hit nothing more and hold nothing.
        """
        self._faults = [*(other for other in self._faults if not other.is_spent), fault]
        self._changed()

    def remove(self, fault: Fault) -> None:
        """End a fault. Does nothing if the fault has ended before."""
        if fault in self._faults:
            self._faults.remove(fault)
            fault.release()
            self._changed()

    def clear(self) -> None:
        """End all faults, and let the requests and frames that they hold go on."""
        for fault in list(self._faults):
            self.remove(fault)

    async def apply(self, site: FaultSite) -> None:
        """Run each fault that matches a request or frame. Return when the server may go on with the request or frame.

        Args:
            site: the request or connection, and the point that the server has reached.

        Raises:
            web.HTTPException: a fault answers the request with a status.
        """
        for fault in list(self._faults):
            if fault.matches(site):
                fault.count()
                await fault.act(site)

    def has(self, site: FaultSite) -> bool:
        """Return whether any fault matches `site`. No fault is run, and no hit is counted."""
        return any(fault.matches(site) for fault in self._faults)

    def suppresses(self, site: FaultSite) -> bool:
        """Return whether the fault `stop_pings` forbids the next ping to a client.

        If true, the ping counts as a hit of the fault.
        """
        for fault in self._faults:
            if fault.matches(site):
                fault.count()
                return True
        return False

    def frame_rule(self, site: FaultSite, *, text: bool) -> FrameRule:
        """Return the `FrameRule` by which the next bytes to a client are divided into frames.

        Args:
            site: the client's connection; `site.point` must be `FaultPoint.FRAME_RULE`.
            text: whether the bytes are UTF-8 text, whose characters must not be split.
        """
        for fault in self._faults:
            if fault.matches(site):
                return attrs.evolve(fault.rule, text=text, used=fault.count)
        return NO_RULE


# The actions of faults: what a `Fault` does to a request or frame that it hits


async def stall(fault: Fault, _site: FaultSite) -> None:
    """Hold the request or frame until the fault ends."""
    await fault.wait_ended()


async def drop(_fault: Fault, site: FaultSite) -> None:
    """Close the client's TCP connection instead of answering the request or passing the frame on."""
    await _close(site, reset=False)


async def reset(_fault: Fault, site: FaultSite) -> None:
    """Reset the client's TCP connection instead of answering the request."""
    await _close(site, reset=True)


async def _close(site: FaultSite, *, reset: bool) -> None:
    drop_tcp(site.tcp, reset=reset)
    # Wait for ever, so that the server does not go on with the request. aiohttp cancels the handler of a request
    # whose TCP connection is lost.
    await asyncio.get_running_loop().create_future()


@attrs.frozen
class Delay:
    """The action of a fault that holds each request or frame for some seconds.

    Attributes:
        seconds: how long each request or frame is held.
    """

    seconds: float = attrs.field(validator=attrs.validators.ge(0))

    async def __call__(self, _fault: Fault, _site: FaultSite) -> None:
        """Return after `seconds`: the server then goes on with the request or frame."""
        await asyncio.sleep(self.seconds)


@attrs.frozen
class Refuse:
    """The action of a fault that answers a request with an HTTP status.

    Attributes:
        status: the status, from 400 to 599.
        retry_after: seconds in the header `Retry-After`; `None` for no such header.
    """

    status: int = attrs.field(validator=[attrs.validators.ge(400), attrs.validators.le(599)])
    retry_after: int | None = None

    async def __call__(self, _fault: Fault, _site: FaultSite) -> None:
        """Raise the HTTP answer as an exception, which aiohttp turns into a response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        kind = type("Refused", (web.HTTPException,), {"status_code": self.status})
        raise kind(headers=headers, text=f"refused by the test server: {self.status}")


@attrs.frozen
class Answer:
    """The action of a fault that answers a request in place of the server.

    Attributes:
        status: the status.
        body: the body.
        content_type: the media type of the body.
        headers: other headers.
    """

    status: int = attrs.field(validator=[attrs.validators.ge(200), attrs.validators.le(599)])
    body: str = ""
    content_type: str = attrs.field(default="text/plain", kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    async def __call__(self, _fault: Fault, _site: FaultSite) -> None:
        """Raise the HTTP answer as an exception, which aiohttp turns into a response."""
        kind = type("Answered", (web.HTTPException,), {"status_code": self.status})
        types = [value for name, value in self.headers.items() if name.lower() == "content-type"]
        answer = kind(headers=self.headers)
        answer.body = self.body.encode()
        # Not as `content_type=`, which aiohttp refuses if it has parameters such as a charset.
        answer.headers["Content-Type"] = types[-1] if types else self.content_type
        raise answer
