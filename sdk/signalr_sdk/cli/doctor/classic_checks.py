"""The checks of `signalr doctor` that talk to a classic ASP.NET SignalR server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import attrs

from ... import ClassicHubError, ConnectionClosedError, NegotiationError, SignalRError, Transport, TransportError
from ..._core.redaction import redact, redact_error
from ...classic import HubConnection, discover
from ..option_words import in_options, without_place
from ..steps import UNKNOWN_METHOD, Step
from . import classic_advice as advice
from . import hub_advice
from .findings import Finding, Mark
from .hub_checks import came_in_time, lost_while_idle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...classic.negotiation import Endpoint
    from ..step_runner import Combination
    from .hub_checks import HubChecks

# A server sends its keep-alive messages twice as often as it promises. After this part of the promised time without a
# byte, a client calls the connection slow.
_SLOW = 2 / 3
_GRACE = 1.0


@attrs.define
class ClassicChecks:
    """Runs the checks that talk to one classic server.

    Attributes:
        _found: the checks that found the server, which know how to connect.
        wanted: the hubs that the user has named; if empty, all that the server lists.
        hubs: the hubs that accept the user, once `find_hubs` has run.
        web_sockets: whether the server offers WebSockets, once `negotiate` has run.
        keep_alive: the longest silence of a server that is well, once `negotiate` has run; `None` without keep-alive.
    """

    _found: HubChecks
    wanted: Sequence[str]
    hubs: tuple[str, ...] = ()
    web_sockets: bool = False
    keep_alive: float | None = None

    async def negotiate(self) -> tuple[Finding, Endpoint | None]:
        """Negotiate as a classic client, without naming hubs.

        Return a tuple of the check's result (`Finding`) and the `Endpoint` to connect to; `None` if negotiate failed.
        """
        client = self._found.new_client()
        try:
            endpoint = await self._found.negotiate_classic(client)
        except NegotiationError as error:
            found, answer = self._found, client.answer
            said = without_place(in_options(redact_error(error)))
            why = hub_advice.for_negotiation(error, answer, found.given_token, now=time.time(), proxied=found.proxied)
            return Finding(Mark.FAILED, said, advice=advice.OLD_PROTOCOL if "speaks version" in said else why), None
        server = endpoint.negotiated
        self.web_sockets, self.keep_alive = server.web_sockets, server.keep_alive_timeout
        silence = "none" if self.keep_alive is None else f"{self.keep_alive:g} s"
        said = f"protocol {server.version}; keep-alive timeout {silence}, disconnect timeout "
        said += f"{server.disconnect_timeout:g} s; {'offers' if self.web_sockets else 'has no'} WebSockets"
        headers = client.answer.headers if client.answer is not None else ()
        cookies = [value.partition("=")[0] for name, value in headers if name.lower() == "set-cookie"]
        said += f"; cookies: {redact(', '.join(cookies))}" if cookies else ""
        if not self.web_sockets:
            return Finding(Mark.WARNING, redact(said), advice=advice.NO_WEB_SOCKETS), endpoint
        return Finding(Mark.GOOD, redact(said)), endpoint

    async def find_hubs(self) -> tuple[Finding, None]:
        """Find out which hubs there are, and which of them accept the user. Return the check's result (`Finding`)."""
        try:
            names = tuple(self.wanted) or tuple(await discover(self._found.url, **self._found.arguments))
        except TransportError as error:
            return Finding(Mark.SKIPPED, without_place(str(error)), advice=advice.UNLISTED), None
        # Ask for one hub at a time: beside others, a hub that the user may not use is left out without a word.
        refusals = {name: await self._refusal(name) for name in names}
        refused = {name: refusal.status for name, refusal in refusals.items() if refusal is not None}
        self.hubs = tuple(name for name in names if name not in refused)
        said = redact(", ".join([*self.hubs, *(f"{name} (status {refused[name]})" for name in refused)]) or "none")
        if not refused:
            return Finding(Mark.GOOD, said), None
        mark = Mark.FAILED if self.wanted or not self.hubs else Mark.WARNING
        return Finding(mark, said, advice=advice.for_hub(next(iter(refused.values())))), None

    async def _refusal(self, hub: str) -> NegotiationError | None:
        try:
            await self._found.negotiate_classic(self._found.new_client(), [hub])
        except NegotiationError as error:
            return error
        return None

    async def nothing_in_common(self) -> tuple[Finding, None]:
        """Return the failed check's result (`Finding`) for options that leave no transport over."""
        said = f"none of those wanted; the server has JSON, {'over' if self.web_sockets else 'without'} WebSockets"
        return Finding(Mark.FAILED, said, advice=advice.NOTHING_IN_COMMON), None

    def connection(self, combination: Combination, **more: Any) -> HubConnection:
        """Return a connection over a transport, which does not reconnect. `more` are further arguments."""
        arguments = {**self._found.arguments, **more}
        connection = HubConnection(self._found.url, transports=combination.transport, reconnect=False, **arguments)
        for hub in self.hubs:
            connection.hub(hub)
        return connection

    def steps(self) -> list[Step[HubConnection]]:
        """Return the steps to run over each transport."""
        steps = [Step("connect", _connect), Step(advice.RECONNECT, _reconnect), Step("stop", _stop)]
        if self.hubs:
            steps.insert(1, Step("round trip", self._round_trip))
        return steps

    async def _round_trip(self, connection: HubConnection) -> str:
        try:
            await connection.hub(self.hubs[0]).invoke(UNKNOWN_METHOD)
        except ClassicHubError:
            return "an unknown method, refused"
        return "a call, answered"

    async def wait_for_keep_alive(self, usable: Sequence[Combination], patience: float) -> tuple[Finding, None]:
        """Look whether the server's keep-alive messages come in time. Return the check's result (`Finding`).

        Args:
            usable: the combinations of transport and protocol that work. The first one without long polling is used,
                because long polling has no keep-alive messages.
            patience: seconds to wait at most; 0 skips the check.
        """
        chosen = next((each for each in usable if each.transport is not Transport.LONG_POLLING), None)
        if not patience or chosen is None or self.keep_alive is None:
            said = "not waited for" if not patience else "the server, or what works of it, has none"
            return Finding(Mark.SKIPPED, said), None
        needed = self.keep_alive * _SLOW
        if patience < needed:
            return Finding(Mark.SKIPPED, f"the check needs {needed:.1f} s (--keep-alive)"), None
        slow = asyncio.Event()
        timeouts = attrs.evolve(self._found.arguments["timeouts"], server=self.keep_alive)
        connection = self.connection(chosen, timeouts=timeouts)
        connection.on_connection_slow(slow.set)
        began = time.perf_counter()
        async with connection:
            try:
                is_slow = await came_in_time(slow, connection, needed + _GRACE)
            except SignalRError as why:
                return lost_while_idle(time.perf_counter() - began, why), None
        if is_slow:
            said = f"{chosen.transport}: silence for {needed:.1f} s"
            return Finding(Mark.FAILED, said, advice=advice.STREAM_HELD), None
        return Finding(Mark.GOOD, f"{chosen.transport}: never silent for {needed:.1f} s"), None


async def _connect(connection: HubConnection) -> str:
    await connection.start()
    return "negotiate, open, start"


async def _reconnect(connection: HubConnection) -> str:
    """Lose the transport, and wait until the same connection is up over another one."""
    again = asyncio.Event()
    connection.on_reconnected(lambda _connection_id: again.set())
    link = connection._life.link  # noqa: SLF001 - the public method `reconnect` makes a new connection
    if link is not None:
        link.lose(ConnectionClosedError("signalr doctor has cut the transport", allow_reconnect=True))
    await came_in_time(again, connection)
    return "a cut, taken up again"


async def _stop(connection: HubConnection) -> str:
    await connection.stop()
    return "aborted and closed"
