"""What `signalr doctor` does: one check after another, from the name of the host up to the hub, each with a bound."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from .. import Connection, ConnectionFailedError, HubConnection, NegotiationError, SignalRError, Timeouts, Transport
from .._core import urls
from .._core.redaction import redact
from .._http.aiohttp_client import AiohttpClient
from .._http.proxies import environment_proxy, proxy_url
from ..messages import Ping
from ..protocols import JsonProtocol, MessagePackProtocol
from . import causes
from .findings import Finding, Mark, Problem, Reason
from .negotiate import endpoint_of
from .network import Place, Way, check_name, check_tcp, check_tls, check_tunnel
from .trials import ANY_HUB, Combination, Ending, Trial, Trials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from yarl import URL

    from .._core.negotiation import Endpoint
    from ..interfaces import HttpRequest, HttpResponse, HubProtocol
    from ..messages import HubMessage
    from .options import Settings

T = TypeVar("T")

KEEP_ALIVE = "keep-alive"

_GRACE = 1.0
_LONGEST_CLOSE = 5.0
_PROTOCOL_NAMES = {"json": "JSON", "messagepack": "MessagePack"}
_NOTHING_COMMON = Reason(
    "the server offers no transport with a format that is wanted and known here",
    "give no --transport or --protocol, or enable more on the server (HttpConnectionDispatcherOptions.Transports)",
)
_IDLE = Reason(
    "something on the way ends connections that are idle, or the hub closed it",
    "raise the idle timeout of proxies and load balancers above the server's KeepAliveInterval; see the server's log",
)
_QUIET = Reason(
    "the server's KeepAliveInterval (15 s unless changed) is longer than that, or something on the way holds it back",
    "clients give up after 30 s of silence (Timeouts.server): keep the server's interval under half of that",
)
_WITHOUT_PROTOCOL = {
    "json": Reason("the hub's server does not speak JSON", "AddJsonProtocol() on the server; MessagePack may do"),
    "messagepack": Reason(
        "the hub's server does not speak MessagePack, which ASP.NET Core has only when told so",
        "AddMessagePackProtocol() on the server, or use --protocol json",
    ),
}


class Recorder(AiohttpClient):
    """An HTTP client that remembers the last answer."""

    answer: HttpResponse | None = None

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        self.answer = None
        self.answer = await super().request(request)
        return self.answer


class PingWatch:
    """A hub protocol that notices the server's pings."""

    def __init__(self, protocol: HubProtocol) -> None:
        self.seen = asyncio.Event()
        self._protocol = protocol
        self.name = protocol.name
        self.transfer_format = protocol.transfer_format
        self.naming = protocol.naming
        self.encode = protocol.encode

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """See `HubProtocol.decode`."""
        message = self._protocol.decode(frame, exact=exact)
        if isinstance(message, Ping):
            self.seen.set()
        return message


class Examination:
    """Examines a hub from outside.

    Args:
        url: the hub's, as `urls.hub_url` returned it.
        settings: how to connect.
        wanted: the combinations to try.
        limit: seconds for each step.
        keep_alive: seconds to wait for a ping of the server; 0 not to.
        report: called when a check or trial begins, and when it has ended.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        wanted: Sequence[Combination],
        *,
        limit: float,
        keep_alive: float,
        report: Callable[[Finding | Trial], None],
    ) -> None:
        self._url = url
        self._wanted = wanted
        self._limit = limit
        self._keep_alive = keep_alive
        self._report = report
        # Those inside of a step strike first: their errors say more.
        timeouts = Timeouts(
            connect=limit / 2, request=limit / 2, handshake=limit / 2, close=min(limit, _LONGEST_CLOSE), ready=limit
        )
        self._arguments = {**settings.arguments, "timeouts": timeouts}
        self._token: str | None = None
        self._proxied = False
        self._trials: list[Trial] = []
        self.findings: list[Finding] = []
        self.server = ""

    async def run(self) -> None:
        """Examine it, as far as one step allows the next."""
        self._token = await self._ask_for_token()
        home = urls.origin(self._url)
        if not await self._reach(home, ""):
            return
        asked: list[str] = []
        endpoint = await self._check("negotiate", self._negotiate(asked))
        if endpoint is None:
            # Why the server that it redirects to does not answer, is known one layer below.
            if asked and urls.origin(asked[-1]) != home:
                await self._reach(urls.origin(asked[-1]), " 2")
            return
        target = urls.origin(endpoint.url)
        if target != home and not await self._reach(target, " 2"):
            return
        offered = [
            each
            for each in self._wanted
            if any(offer.name == each.transport and each.format in offer.formats for offer in endpoint.transports)
        ]
        if not offered:
            await self._check("transports", self._refuse(endpoint))
            return
        await self._check("token", self._where_token(endpoint, offered), 3 * self._limit + _GRACE)
        await self._try(offered)
        await self._check(KEEP_ALIVE, self._wait_for_ping(), self._keep_alive + 3 * self._limit)

    @property
    def connected(self) -> bool:
        """Whether any connection came to be."""
        return any(trial.ending is Ending.WORKED for trial in self._trials)

    @property
    def good(self) -> bool:
        """Whether nothing at all failed."""
        return self.connected and all(problem.mark is not Mark.FAILED for problem in self.problems())

    def problems(self) -> list[Problem]:
        """Return what is to be mended, the first first."""
        found = [
            Problem(finding.check, finding.said, finding.reason, finding.mark)
            for finding in self.findings
            if finding.reason is not None and finding.mark is not None
        ]
        # The order of the checks: the trials come before the last one.
        last = [problem for problem in found if problem.where == KEEP_ALIVE]
        return [*(problem for problem in found if problem not in last), *self._problems_of_trials(), *last]

    def _problems_of_trials(self) -> list[Problem]:
        """Return one problem for each reason."""
        working = {trial.combination.transport for trial in self._trials if trial.ending is Ending.WORKED}
        found: dict[Reason, dict[str, Trial]] = {}
        for trial in self._trials:
            transport = trial.combination.transport
            if trial.ending is Ending.FAILED:
                reason = causes.of_trial(trial.error, transport, others_work=bool(working - {transport}))
                found.setdefault(reason, {}).setdefault(f"{transport}, {trial.step.name}", trial)
            elif trial.ending is Ending.NOT_OFFERED and trial.said:
                protocol = trial.combination.protocol
                found.setdefault(_WITHOUT_PROTOCOL[protocol], {}).setdefault(_PROTOCOL_NAMES[protocol], trial)
        problems = []
        for reason, places in found.items():
            first = next(iter(places.values()))
            mark = Mark.FAILED if first.ending is Ending.FAILED else Mark.SKIPPED
            problems.append(Problem("; ".join(places), _failure(first), reason, mark))
        return problems

    # The checks

    async def _check(self, name: str, work: Awaitable[tuple[Finding, T]], limit: float | None = None) -> T | None:
        """Do a check within its bound; return what the next ones need."""
        self._report(Finding(None, check=name))
        limit = limit or self._limit + _GRACE
        began = time.perf_counter()
        value: T | None = None
        try:
            async with asyncio.timeout(limit):
                finding, value = await work
        except TimeoutError as error:
            said = str(error) or f"no answer within {limit:g} s"
            finding = Finding(
                Mark.FAILED, said, Reason("it hangs, or is very slow", "try again with a longer --timeout")
            )
        except (SignalRError, OSError) as error:
            finding = Finding(Mark.FAILED, str(error), Reason("it failed in an unexpected way", "try again with -vv"))
        finding = attrs.evolve(finding, check=name, seconds=time.perf_counter() - began)
        self.findings.append(finding)
        self._report(finding)
        return value

    async def _ask_for_token(self) -> str | None:
        token = self._arguments["access_token"]
        text: str | None = await token() if callable(token) else token
        return text

    async def _reach(self, origin: tuple[str, str, int], suffix: str) -> bool:
        """Check all that lies below HTTP; return whether that works."""
        proxy = await self._check(f"proxy{suffix}", self._proxy_for(origin))
        if proxy is None:
            return False
        self._proxied = bool(proxy)
        target = Place.of_origin(origin)
        place = Place.of_proxy(proxy[0]) if proxy else target
        addresses = await self._check(f"name{suffix}", check_name(place))
        if not addresses:
            return False
        address = await self._check(f"TCP{suffix}", check_tcp(place, addresses, self._limit))
        if address is None:
            return False
        if origin[0] != "https":
            return True
        way = Way(address, target, proxy[0] if proxy else None)
        if proxy and not await self._check(f"tunnel{suffix}", check_tunnel(way)):
            return False
        return bool(await self._check(f"TLS{suffix}", check_tls(way, self._arguments["ssl"])))

    async def _proxy_for(self, origin: tuple[str, str, int]) -> tuple[Finding, tuple[URL, ...]]:
        given = self._arguments["proxy"]
        proxy = proxy_url(given) if given else await environment_proxy(origin)
        if proxy is None:
            return Finding(Mark.GOOD, "none"), ()
        source = "--proxy" if given else "the environment"
        return Finding(Mark.GOOD, f"{proxy.scheme}://{Place.of_proxy(proxy)}, from {source}"), (proxy,)

    async def _negotiate(self, asked: list[str]) -> tuple[Finding, Endpoint | None]:
        given = {name: self._arguments[name] for name in ("headers", "access_token")}
        client = Recorder(ssl=self._arguments["ssl"], proxy=self._arguments["proxy"])
        endpoint, failure = None, None
        try:
            endpoint = await endpoint_of(client, self._url, asked, timeout=self._limit, **given)
        except (ConnectionFailedError, OSError) as error:
            failure = error
        self.server = causes.server_kind(self._url, endpoint, failure, client.answer)
        if endpoint is None:
            assert failure is not None
            reason = causes.of_negotiation(failure, client.answer, self._token, time.time(), proxied=self._proxied)
            if client.answer is None and len(asked) > 1:
                reason = causes.NO_ANSWER_BEHIND_REDIRECT
            return Finding(Mark.FAILED, str(failure), reason), None
        redirects = "".join(f", redirected to {urls.without_query(url)}" for url in asked[1:])
        offered = redact(", ".join(offer.name for offer in endpoint.transports))
        return Finding(Mark.GOOD, f"status 200{redirects}; {self.server}; offers {offered}"), endpoint

    async def _refuse(self, endpoint: Endpoint) -> tuple[Finding, None]:
        offers = ", ".join(f"{offer.name} ({', '.join(sorted(offer.formats))})" for offer in endpoint.transports)
        return Finding(Mark.FAILED, f"none of those wanted; the server offers {redact(offers)}", _NOTHING_COMMON), None

    async def _where_token(self, endpoint: Endpoint, offered: Sequence[Combination]) -> tuple[Finding, None]:
        if self._token is None:
            return Finding(Mark.GOOD, "none given, and none needed to negotiate"), None
        lasts = _lasting(self._token)
        needed = await self._refusal(offered, access_token=None)
        if needed is None:
            return Finding(Mark.GOOD, f"not needed: all works without it{lasts}"), None
        if endpoint.access_token is not None:
            return Finding(Mark.GOOD, f"accepted by negotiate, which gives one of its own for the rest{lasts}"), None
        ways = {"header": "the Authorization header", "query": "the query (access_token)"}
        refused = {way: await self._refusal(offered, access_token_in=way) for way in ways}
        said = [f"needed ({needed})", "accepted by negotiate"]
        said += [f"{offered[0].transport}: {'refused' if refused[way] else 'accepted'} in {ways[way]}" for way in ways]
        return Finding(Mark.GOOD, "; ".join(said) + lasts), None

    async def _refusal(self, offered: Sequence[Combination], **how: Any) -> str | None:
        """Open a connection; return where it was refused, `None` if it was not."""
        connection = Connection(self._url, transports=offered[0].transport, **{**self._arguments, **how})
        try:
            await connection.start()
        except NegotiationError as error:
            return f"negotiate: status {error.status}" if error.status else "negotiate"
        except ConnectionFailedError:
            return "after negotiate"
        finally:
            await connection.stop()
        return None

    async def _try(self, offered: Sequence[Combination]) -> None:
        trials = Trials(
            url=self._url,
            steps=ANY_HUB,
            offered=offered,
            limit=self._limit,
            report=self._note_trial,
            settings=self._arguments,
        )
        await trials.run()

    def _note_trial(self, trial: Trial) -> None:
        if trial.ending is not None:
            self._trials.append(trial)
        self._report(trial)

    async def _wait_for_ping(self) -> tuple[Finding, None]:
        if not self._keep_alive:
            return Finding(Mark.SKIPPED, "not waited for"), None
        usable = [trial.combination for trial in self._trials if trial.ending is Ending.WORKED]
        usable = [each for each in usable if each.transport is not Transport.LONG_POLLING]
        if not usable:
            return Finding(Mark.SKIPPED, "nothing that has pings works (long polling needs none)"), None
        chosen = usable[0]
        watch = PingWatch(JsonProtocol() if chosen.protocol == "json" else MessagePackProtocol())
        hub = HubConnection(
            self._url, transports=chosen.transport, reconnect=False, **{**self._arguments, "protocol": watch}
        )
        async with hub:
            return await self._watch(hub, watch), None

    async def _watch(self, hub: HubConnection, watch: PingWatch) -> Finding:
        """Wait for a ping, or the end of the connection."""
        began = time.perf_counter()
        seen, closed = asyncio.create_task(watch.seen.wait()), asyncio.create_task(hub.wait_closed())
        try:
            await asyncio.wait({seen, closed}, timeout=self._keep_alive, return_when=asyncio.FIRST_COMPLETED)
            took = time.perf_counter() - began
            if seen.done():
                return Finding(Mark.GOOD, f"{hub.transport}: a ping of the server after {took:.1f} s")
            if closed.done():
                return Finding(
                    Mark.FAILED, f"the idle connection was lost after {took:.1f} s: {_outcome(closed)}", _IDLE
                )
            return Finding(Mark.WARNING, f"{hub.transport}: no ping within {self._keep_alive:g} s", _QUIET)
        finally:
            seen.cancel()
            closed.cancel()


def _outcome(task: asyncio.Task[None]) -> str:
    return str(task.exception() or "the server closed it")


def _failure(trial: Trial) -> str:
    """Return what went wrong, without what was not tried."""
    attempts = getattr(trial.error, "attempts", ())
    return str(attempts[0]) if attempts else trial.said


def _lasting(token: str) -> str:
    """Return how long a token lasts, if it says so."""
    ends = causes.token_times(token).ends
    if ends is None:
        return ""
    left = ends - time.time()
    return f"; valid for {causes.duration(left)}" if left > 0 else f"; expired {causes.duration(-left)} ago"
