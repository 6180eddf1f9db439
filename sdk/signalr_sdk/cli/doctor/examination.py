"""Runs the checks of `signalr doctor` in order, from the host's name up to the hub, each with a time limit."""

from __future__ import annotations

import asyncio
import functools
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ... import SignalRError, Timeouts, Transport
from ..._core import urls
from ..._http.proxies import environment_proxy, proxy_url
from ..._life.managed_connection import ManagedConnection
from ..option_words import in_options, without_place
from ..step_runner import Combination, Ending, StepResult, StepRunner, hub_over
from ..steps import ANY_HUB
from . import classic_advice, hub_advice
from .classic_checks import ClassicChecks
from .findings import Advice, Finding, Mark, Problem
from .hub_advice import WITHOUT_PROTOCOL
from .hub_checks import HubChecks
from .network_advice import HTTPS_PORT
from .network_checks import HostPort, Route, check_name, check_tcp, check_tls, check_tunnel, speaks_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yarl import URL

    from ..connection_options import ConnectionOptions
    from ..steps import Step

T = TypeVar("T")
C = TypeVar("C", bound=ManagedConnection[Any])

KEEP_ALIVE = "keep-alive"

# A check may take this many seconds longer than the requests that it makes. A slow request then reaches its own time
# limit first. The error of the request says more than "the check was too slow".
_GRACE = 1.0
_LONGEST_CLOSE = 5.0
_LONGEST_LOOK = 2.0
_PROTOCOL_NAMES = {"json": "JSON", "messagepack": "MessagePack"}


@attrs.define
class Examination:
    """Runs the checks of one hub in order, and stops at a failed check on which all later checks depend.

    Attributes:
        url: URL of the hub, as `urls.hub_url` returns it.
        options: how to connect to the hub, from the command line.
        wanted: the combinations of transport and protocol to try.
        hubs: the hubs of a classic server to examine; if empty, all that the server lists.
        limit: seconds for each step over a transport, and for most checks.
        keep_alive: seconds to wait for a ping of the server; with 0, the check for pings is skipped.
        report: called with a result when a check or a step begins, and again with the final result when it has ended.
        findings: the results of the checks, in their order.
    """

    url: str
    options: ConnectionOptions
    wanted: Sequence[Combination] = attrs.field(kw_only=True)
    hubs: Sequence[str] = attrs.field(kw_only=True)
    limit: float = attrs.field(kw_only=True)
    keep_alive: float = attrs.field(kw_only=True)
    report: Callable[[Finding | StepResult], None] = attrs.field(kw_only=True)
    findings: list[Finding] = attrs.field(factory=list, init=False)
    _results: list[StepResult] = attrs.field(factory=list, init=False)
    _hub: HubChecks = attrs.field(init=False)
    # The way to the server if the URL has http; `None` before the TCP check, and for https.
    _plain: Route | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        half = self.limit / 2
        close = min(self.limit, _LONGEST_CLOSE)
        timeouts = Timeouts(connect=half, request=half, handshake=half, close=close, ready=self.limit)
        arguments = {**self.options.arguments, "timeouts": timeouts}
        source = self.options.token_source
        self._hub = HubChecks(url=self.url, arguments=arguments, limit=self.limit, token_source=source)

    async def run(self) -> None:
        """Run all checks. After that, `findings`, `server`, `connected` and `problems` hold the results."""
        token = self._hub.arguments["access_token"]
        self._hub.token = await token() if callable(token) else token
        home = urls.origin(self.url)
        if not await self._reach(home, ""):
            return
        asked: list[str] = []
        endpoint = await self._check("negotiate", self._hub.negotiate(asked), waits="asks the server what it offers")
        if self._hub.is_classic:
            await self._examine_classic(home)
            return
        if endpoint is None:
            # Negotiate was redirected to another server, and that server refused or did not answer. Run the
            # network checks (name, TCP, TLS) for that server too, to tell the user why.
            if asked and urls.origin(asked[-1]) != home:
                await self._reach(urls.origin(asked[-1]), " 2")
            else:
                await self._look_for_https()
            return
        target = urls.origin(endpoint.url)
        if target != home and not await self._reach(target, " 2"):
            return
        offered = [
            each
            for each in self.wanted
            if any(offer.name == each.transport and each.format in offer.formats for offer in endpoint.transports)
        ]
        if not offered:
            await self._check("transports", self._hub.nothing_in_common(endpoint))
            return
        where_token = self._hub.where_token(endpoint, offered)
        await self._check("token", where_token, 3 * self.limit + _GRACE, waits="connects with and without the token")
        await self._run_steps(ANY_HUB, offered, functools.partial(hub_over, self.url, **self._hub.arguments))
        await self._check_keep_alive(self._hub.wait_for_ping(self._usable, self.keep_alive), "a ping")

    async def _examine_classic(self, home: tuple[str, str, int]) -> None:
        """Run the checks that talk to a classic server. `home` is the origin of the URL."""
        classic = ClassicChecks(self._hub, self.hubs)
        endpoint = await self._check("settings", classic.negotiate(), waits="asks the server for its settings")
        if endpoint is None:
            return
        target = urls.origin(endpoint.address.url)
        if target != home and not await self._reach(target, " 2"):
            return
        await self._check("hubs", classic.find_hubs(), 3 * self.limit + _GRACE, waits="asks for the hubs")
        offered = [
            each
            for each in self.wanted
            if each.protocol == "json" and (classic.web_sockets or each.transport is not Transport.WEBSOCKETS)
        ]
        if not offered:
            await self._check("transports", classic.nothing_in_common())
            return
        await self._run_steps(classic.steps(), offered, classic.connection)
        await self._check_keep_alive(classic.wait_for_keep_alive(self._usable, self.keep_alive), "signs of life")

    @property
    def _usable(self) -> list[Combination]:
        return [result.combination for result in self._results if result.ending is Ending.WORKED]

    async def _check_keep_alive(self, waiting: Awaitable[tuple[Finding, None]], what: str) -> None:
        waits = f"waits up to {self.keep_alive:g} s for {what} of the server"
        await self._check(KEEP_ALIVE, waiting, self.keep_alive + 3 * self.limit, waits=waits)

    @property
    def server(self) -> str:
        """The kind of the hub's server, as a text for users. Empty before the check `negotiate` has run."""
        return self._hub.server

    @property
    def connected(self) -> bool:
        """Whether at least one transport connected to the hub."""
        return any(result.ending is Ending.WORKED for result in self._results)

    @property
    def good(self) -> bool:
        """Whether at least one transport connected, and no check and no step failed."""
        return self.connected and all(problem.mark is not Mark.FAILED for problem in self.problems())

    async def _check(
        self, name: str, work: Awaitable[tuple[Finding, T]], limit: float | None = None, *, waits: str = ""
    ) -> T | None:
        """Run the check `work` and add its finding to `findings`. A check that raises or is too slow has failed.

        Return the value of the check, which later checks need; `None` if the check raised or was too slow.

        Args:
            name: name of the check.
            work: the check itself.
            limit: seconds for the check.
            waits: what the check waits for; it is shown while the check runs.
        """
        limit = limit or self.limit + _GRACE
        self.report(Finding(None, waits or f"waits up to {limit:g} s", check=name))
        began = time.perf_counter()
        value: T | None = None
        try:
            async with asyncio.timeout(limit):
                finding, value = await work
        except TimeoutError as error:
            said = str(error) or f"no answer within {limit:g} s"
            why = Advice("it hangs, or is very slow", "try again with a longer --timeout")
            finding = Finding(Mark.FAILED, said, advice=why)
        except (SignalRError, OSError) as error:
            finding = Finding(
                Mark.FAILED,
                in_options(str(error)),
                advice=Advice("it failed in an unexpected way", "try again with -vv"),
            )
        finding = attrs.evolve(finding, check=name, seconds=time.perf_counter() - began)
        self.findings.append(finding)
        self.report(finding)
        return value

    async def _reach(self, origin: tuple[str, str, int], suffix: str) -> bool:
        """Run the checks below HTTP for a server: proxy, name, TCP, tunnel, TLS. Return whether all of them worked.

        Args:
            origin: scheme, host and port of the server.
            suffix: is added to the names of the checks: `" 2"` for a second server, to which negotiate redirects.
        """
        proxy = await self._check(f"proxy{suffix}", self._proxy_for(origin))
        if proxy is None:
            return False
        self._hub.proxied = bool(proxy)
        server = HostPort.of_origin(origin)
        first = HostPort.of_proxy(proxy[0]) if proxy else server
        addresses = await self._check(f"name{suffix}", check_name(first), waits=f"looks up {first.host}")
        if not addresses:
            return False
        address = await self._check(
            f"TCP{suffix}", check_tcp(first, addresses, self.limit), waits=f"connects to {first}"
        )
        if address is None:
            return False
        route = Route(address, server, proxy=proxy[0] if proxy else None)
        if origin[0] != "https":
            self._plain = route
            return True
        if proxy and not await self._check(f"tunnel{suffix}", check_tunnel(route), waits="asks the proxy for a tunnel"):
            return False
        tls = check_tls(route, self._hub.arguments["ssl"])
        return bool(await self._check(f"TLS{suffix}", tls, waits="does the TLS handshake"))

    async def _look_for_https(self) -> None:
        """After a negotiation without a usable answer over http, find out whether the port speaks HTTPS."""
        if self._plain is None or self._plain.proxy is not None or self._hub.answered not in (None, 400):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self.limit, _LONGEST_LOOK)):
                if await speaks_tls(self._plain):
                    self.findings[-1] = attrs.evolve(self.findings[-1], advice=HTTPS_PORT)
                    self.report(self.findings[-1])

    async def _proxy_for(self, origin: tuple[str, str, int]) -> tuple[Finding, tuple[URL, ...]]:
        given = self._hub.arguments["proxy"]
        proxy = proxy_url(given) if given else await environment_proxy(origin)
        if proxy is None:
            return Finding(Mark.GOOD, "none"), ()
        source = "--proxy" if given else "the environment"
        return Finding(Mark.GOOD, f"{proxy.scheme}://{HostPort.of_proxy(proxy)}, from {source}"), (proxy,)

    async def _run_steps(
        self, steps: Sequence[Step[C]], offered: Sequence[Combination], connection: Callable[[Combination], C]
    ) -> None:
        runner = StepRunner(
            steps=steps, connection=connection, offered=offered, limit=self.limit, report=self._note_result
        )
        await runner.run()

    def _note_result(self, result: StepResult) -> None:
        if result.ending is not None:
            self._results.append(result)
        self.report(result)

    def problems(self) -> list[Problem]:
        """Return the problems of all checks, and of all steps over the transports, in the order of the run."""
        found = [
            Problem(where=finding.check, said=finding.said, advice=finding.advice, mark=finding.mark)
            for finding in self.findings
            if finding.advice is not None and finding.mark is not None
        ]
        last = [problem for problem in found if problem.where == KEEP_ALIVE]
        return [*(problem for problem in found if problem not in last), *self._problems_of_steps(), *last]

    def _problems_of_steps(self) -> list[Problem]:
        """Return the problems of the steps (connect, round trip, stop) over the transports.

        Failed steps with the same advice make one problem.
        """
        working = {result.combination.transport for result in self._results if result.ending is Ending.WORKED}
        found: dict[Advice, dict[str, StepResult]] = {}
        for result in self._results:
            transport = result.combination.transport
            if result.ending is Ending.FAILED:
                why = self._advice(result, others_work=bool(working - {transport}))
                found.setdefault(why, {}).setdefault(f"{transport}, {result.step.name}", result)
            elif result.ending is Ending.NOT_OFFERED and result.said:
                protocol = result.combination.protocol
                found.setdefault(WITHOUT_PROTOCOL[protocol], {}).setdefault(_PROTOCOL_NAMES[protocol], result)
        problems = []
        for why, places in found.items():
            first = next(iter(places.values()))
            mark = Mark.FAILED if first.ending is Ending.FAILED else Mark.SKIPPED
            problems.append(Problem(where="; ".join(places), said=_said(first), advice=why, mark=mark))
        return problems

    def _advice(self, failed: StepResult, *, others_work: bool) -> Advice:
        if self._hub.is_classic:
            return classic_advice.for_step(failed, others_work=others_work)
        return hub_advice.for_step(failed.error, failed.combination.transport, others_work=others_work)


def _said(result: StepResult) -> str:
    """Return the error text of a failed step. If connecting failed, return only the text of the transport's error."""
    attempts: Any = getattr(result.error, "attempts", ())
    said = without_place(in_options(str(attempts[0]) if attempts else result.said))
    return said.removeprefix(f"{result.combination.transport}: ")
