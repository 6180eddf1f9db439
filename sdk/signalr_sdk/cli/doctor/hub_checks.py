"""The checks of `signalr doctor` that talk to the hub: negotiate, the bearer token, and the server's pings."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import attrs

from ... import (
    ClassicServerError,
    Connection,
    ConnectionClosedError,
    ConnectionFailedError,
    HubConnection,
    NegotiationError,
    SignalRError,
    Transport,
)
from ..._core import urls
from ..._core.redaction import redact, redact_error
from ..._guard.tasks import retrieve, spawn
from ..._http.aiohttp_client import AiohttpClient
from ...messages import Ping
from ..classic_hubs import PERHAPS_CLASSIC
from ..negotiate import negotiate_classic_endpoint, negotiate_endpoint
from ..option_words import in_options, without_place
from ..watched_protocol import WatchedProtocol
from . import hub_advice as advice
from .findings import Finding, Mark
from .server_kind import CLASSIC, is_html, server_kind
from .token_lifetime import GivenToken, lifetime_remark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._core.negotiation import Endpoint
    from ..._life.managed_connection import ManagedConnection
    from ...classic.negotiation import Endpoint as ClassicEndpoint
    from ...interfaces import HttpRequest, HttpResponse
    from ...messages import HubMessage
    from ..step_runner import Combination


_LONGEST_BODY = 2000  # bytes of an answer that are looked at


class RecordingClient(AiohttpClient):
    """An HTTP client that keeps its last response, from which the advice about a failed negotiation is made."""

    answer: HttpResponse | None = None

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        self.answer = None
        self.answer = await super().request(request)
        return self.answer


@attrs.define(kw_only=True)
class HubChecks:
    """Runs the checks that talk to one hub.

    Attributes:
        url: URL of the hub.
        arguments: keyword arguments for `HubConnection` that say how to connect, for example `proxy`.
        limit: seconds for each request.
        token: the bearer token, once it is known.
        token_source: where the token comes from, for example `SIGNALR_TOKEN`; `None` without a token.
        proxied: whether requests go through a proxy.
        server: the kind of server, once `negotiate` has run.
        is_classic: whether the server is one of classic ASP.NET SignalR, once `negotiate` has run.
        answered: the HTTP status of the last negotiate response; `None` if there was none.
    """

    url: str
    arguments: dict[str, Any]
    limit: float
    token: str | None = None
    token_source: str | None = None
    proxied: bool = False
    server: str = ""
    is_classic: bool = False
    answered: int | None = None

    async def negotiate(self, asked: list[str]) -> tuple[Finding, Endpoint | None]:
        """Negotiate, following all redirects.

        Return a tuple of the check's result (`Finding`) and the `Endpoint` to connect to; `None` if negotiate failed,
        or if the server is a classic one.

        Args:
            asked: a list to which this method adds the URL of each negotiate request.
        """
        client = self.new_client()
        endpoint, failure = None, None
        try:
            endpoint = await negotiate_endpoint(client, self.url, asked, **self._how_to_ask())
        except (ConnectionFailedError, OSError) as error:
            failure = error
        self.answered = client.answer.status if client.answer is not None else None
        self.is_classic = await self._is_classic(failure)
        if self.is_classic:
            self.server = CLASSIC
            return Finding(Mark.GOOD, f"status {self.answered}; {CLASSIC}"), None
        self.server = server_kind(self.url, endpoint, client.answer)
        if endpoint is None:
            assert failure is not None
            why = advice.for_negotiation(
                failure, client.answer, self.given_token, now=time.time(), proxied=self.proxied
            )
            if client.answer is None and len(asked) > 1:
                why = advice.NO_ANSWER_BEHIND_REDIRECT
            return Finding(Mark.FAILED, _said(failure, client.answer), advice=why), None
        redirects = "".join(f", redirected to {urls.without_query(url)}" for url in asked[1:])
        offered = redact(", ".join(offer.name for offer in endpoint.transports))
        return Finding(Mark.GOOD, f"status 200{redirects}; {self.server}; offers {offered}"), endpoint

    @property
    def given_token(self) -> GivenToken | None:
        """The bearer token of the user, for advice; `None` without one."""
        return GivenToken(self.token, self.token_source) if self.token_source is not None else None

    async def _is_classic(self, failure: Exception | None) -> bool:
        """Return whether a classic server has refused to negotiate. One that takes no POST is asked with a GET."""
        if isinstance(failure, ClassicServerError):
            return True
        if not isinstance(failure, NegotiationError) or failure.status not in PERHAPS_CLASSIC:
            return False
        try:
            await self.negotiate_classic(self.new_client())
        except (ConnectionFailedError, OSError):
            return False
        return True

    def new_client(self) -> RecordingClient:
        """Return an HTTP client for one negotiation, which closes it."""
        return RecordingClient(ssl=self.arguments["ssl"], proxy=self.arguments["proxy"])

    async def negotiate_classic(self, client: RecordingClient, hubs: Sequence[str] = ()) -> ClassicEndpoint:
        """Negotiate as a classic client that wants these hubs. See `negotiate_classic_endpoint`."""
        return await negotiate_classic_endpoint(client, self.url, [], hubs=hubs, **self._how_to_ask())

    def _how_to_ask(self) -> dict[str, Any]:
        return {"timeout": self.limit, **{name: self.arguments[name] for name in ("headers", "access_token")}}

    async def nothing_in_common(self, endpoint: Endpoint) -> tuple[Finding, None]:
        """Return the failed check's result (`Finding`) for a server that offers none of the allowed transports."""
        offers = ", ".join(f"{offer.name} ({', '.join(sorted(offer.formats))})" for offer in endpoint.transports)
        said = f"none of those wanted; the server offers {redact(offers)}"
        return Finding(Mark.FAILED, said, advice=advice.NOTHING_IN_COMMON), None

    async def where_token(self, endpoint: Endpoint, offered: Sequence[Combination]) -> tuple[Finding, None]:
        """Check whether the server needs the user's token, and whether the token works in the header and in the query.

        Return the check's result (`Finding`).
        """
        if self.token is None:
            given = f"in {self.token_source}; accepted by negotiate"
            none = "none given, and none needed to negotiate"
            return Finding(Mark.GOOD, none if self.token_source is None else given), None
        lasts = lifetime_remark(self.token, time.time())
        transport = offered[0].transport
        needed = await self._refused_at(transport, access_token=None)
        if needed is None:
            return Finding(Mark.GOOD, f"not needed: all works without it{lasts}"), None
        if endpoint.access_token is not None:
            return Finding(Mark.GOOD, f"accepted by negotiate, which gives one of its own for the rest{lasts}"), None
        places = {"header": "the Authorization header", "query": "the query (access_token)"}
        refused = {place: await self._refused_at(transport, access_token_in=place) for place in places}
        said = [f"needed ({needed})", "accepted by negotiate"]
        said += [f"{transport}: {'refused' if refused[place] else 'accepted'} in {places[place]}" for place in places]
        return Finding(Mark.GOOD, "; ".join(said) + lasts), None

    async def _refused_at(self, transport: Transport, **more: Any) -> str | None:
        """Connect over a transport and close the connection. Return `None` if connecting worked.

        If connecting failed, return a text that says where, for example `negotiate: status 401`. `more` are further
        arguments of `Connection`.
        """
        connection = Connection(self.url, transports=transport, **{**self.arguments, **more})
        try:
            await connection.start()
        except NegotiationError as error:
            return f"negotiate: status {error.status}" if error.status else "negotiate"
        except ConnectionFailedError:
            return "after negotiate"
        finally:
            await connection.stop()
        return None

    async def wait_for_ping(self, usable: Sequence[Combination], patience: float) -> tuple[Finding, None]:
        """Wait for a keep-alive ping of the server on an idle connection, and return the check's result (`Finding`).

        Args:
            usable: the combinations of transport and protocol that work. The first one without long polling is used,
                because servers send no pings over long polling.
            patience: seconds to wait; 0 skips the check.
        """
        if not patience:
            return Finding(Mark.SKIPPED, "not waited for"), None
        chosen = next((each for each in usable if each.transport is not Transport.LONG_POLLING), None)
        if chosen is None:
            return Finding(Mark.SKIPPED, "nothing that has pings works (long polling needs none)"), None
        pinged = asyncio.Event()

        def see(message: HubMessage) -> None:
            if isinstance(message, Ping):
                pinged.set()

        arguments = {**self.arguments, "protocol": WatchedProtocol(chosen.protocol, see)}
        async with HubConnection(self.url, transports=chosen.transport, reconnect=False, **arguments) as hub:
            return await _ping_or_end(hub, pinged, patience), None


def _said(error: Exception, answer: HttpResponse | None) -> str:
    """Return what a negotiation that failed has seen. For a refusal this is no more than the refusal itself."""
    if answer is None or answer.status < 300:
        return without_place(in_options(redact_error(error))).removeprefix("cannot negotiate: ")
    place = answer.header("Location")
    text = "" if is_html(answer) else redact(answer.body[:_LONGEST_BODY].decode("utf-8", "replace"), 120)
    to = f" to {redact(urls.without_query(place))}" if place else ""
    return f"status {answer.status}{to}" + (f", the server says: {text}" if text else "")


async def _ping_or_end(hub: HubConnection, pinged: asyncio.Event, patience: float) -> Finding:
    began = time.perf_counter()
    try:
        if await came_in_time(pinged, hub, patience):
            return Finding(Mark.GOOD, f"{hub.transport}: the server has sent a ping")
    except SignalRError as why:
        return lost_while_idle(time.perf_counter() - began, why)
    return Finding(Mark.WARNING, f"{hub.transport}: no ping within {patience:g} s", advice=advice.NO_PING)


def lost_while_idle(seconds: float, why: SignalRError) -> Finding:
    """Return the failed check's result (`Finding`) for an idle connection that was lost after some seconds."""
    said = f"the idle connection was lost after {seconds:.1f} s: {why}"
    return Finding(Mark.FAILED, said, advice=advice.LOST_WHILE_IDLE)


async def came_in_time(event: asyncio.Event, hub: ManagedConnection[Any], patience: float | None = None) -> bool:
    """Wait until an event is set. Return whether this happened within `patience` seconds.

    Raises:
        SignalRError: the connection ended before.
    """
    came, closed = spawn(event.wait(), "event"), spawn(hub.wait_closed(), "end of the hub")
    closed.add_done_callback(retrieve)
    try:
        await asyncio.wait({came, closed}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if closed.done() and not came.done():
            closed.result()
            raise ConnectionClosedError("the server closed it")
        return came.done()
    finally:
        came.cancel()
        closed.cancel()
