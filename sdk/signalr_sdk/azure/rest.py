"""Requests to the REST API: with a token each, repeated where that is safe."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import tenacity

from .._core import headers as http_headers
from .._core import urls
from ..errors import AzureSignalRError, RemoteProtocolError
from ..interfaces import HttpRequest
from . import answers, names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..interfaces import HttpClient, HttpResponse
    from ..options import Timeouts

_logger = logging.getLogger("signalr_sdk.http")

_ATTEMPTS = 4
_LONGEST_WAIT = 30.0  # seconds; who is asked to wait longer is told instead
_MAX_ANSWER = 16 * 1024 * 1024

# The service did not take the request up.
_REFUSED = frozenset({429, 503})
# It may have: whether the message reached clients is not known.
_UNCERTAIN = frozenset({408, *range(500, 600)})
_NEVER_SENT = (socket.gaierror, ConnectionRefusedError)

_wait = tenacity.wait_random_exponential(multiplier=0.8, max=10.0)


class RequestTokens(Protocol):
    """Makes the tokens of REST requests."""

    async def request_tokens(self, url: str) -> Sequence[str]:
        """Return the tokens to try, one after another, as long as the service answers 401."""


class RestClient:
    """Asks the service.

    Args:
        http: sends the requests.
        base: where to, ending in `/`.
        tokens: makes their tokens.
        timeouts: `connect` and `request` count.
        api_version: of the REST API.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        http: HttpClient,
        base: str,
        tokens: RequestTokens,
        *,
        timeouts: Timeouts,
        api_version: str,
        clock: Callable[[], float],
    ) -> None:
        self._http = http
        self._base = base
        self._tokens = tokens
        self._timeouts = timeouts
        self._api_version = api_version
        self._clock = clock
        self._closed = False
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def close(self) -> None:
        """From now on no request works: whoever owns the HTTP client has closed it."""
        self._closed = True

    def request(
        self,
        method: str,
        path: str,
        *pairs: tuple[str, str | int | None],
        body: bytes = b"",
        content_type: str | None = None,
    ) -> HttpRequest:
        """Return a request, still without a token.

        Args:
            method: the HTTP method.
            path: after `/api/`, encoded.
            pairs: the query but for `api-version`.
            body: what to send.
            content_type: what that is.
        """
        headers = {"User-Agent": http_headers.user_agent(), "Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        query = names.query(("api-version", self._api_version), *pairs)
        return HttpRequest(
            method=method,
            url=f"{self._base}api/{path}?{query}",
            headers=headers,
            body=body,
            connect_timeout=self._timeouts.connect,
            timeout=self._timeouts.request,
            max_bytes=_MAX_ANSWER,
        )

    async def ask(self, request: HttpRequest, *, sends: bool = False) -> HttpResponse:
        """Send a request; return the answer if its status is good. What may pass is tried again, at most 3 times.

        Args:
            request: as `request` made it.
            sends: a repetition could reach clients twice: only what surely did not arrive is repeated.

        Raises:
            AzureSignalRError: the service refused, or did not answer, or this is closed.
        """
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=_delay,
            retry=tenacity.retry_if_exception(partial(may_be_repeated, sends=sends)),
            sleep=self._sleep,
            reraise=True,
        )
        response: HttpResponse = await retrying(self.ask_once, request)
        return response

    async def ask_once(self, request: HttpRequest, *, anonymous: bool = False) -> HttpResponse:
        """Do the same without trying again; `anonymous`: and without a token."""
        tokens: Sequence[str | None] = (None,) if anonymous else await self._tokens.request_tokens(request.url)
        response = await self._exchange(request, tokens[0])
        for token in tokens[1:]:
            if response.status != 401:
                break
            response = await self._exchange(request, token)
        if 200 <= response.status < 300:
            return response
        raise answers.refusal(request, response, self._clock())

    async def _exchange(self, request: HttpRequest, token: str | None) -> HttpResponse:
        if self._closed:
            # The HTTP client would say so too, but as something that is worth another try.
            raise AzureSignalRError("this AzureSignalR is closed")
        url = urls.without_query(request.url)
        try:
            response = await self._http.request(_with_token(request, token))
        except (OSError, RemoteProtocolError) as error:
            reason = str(error) or type(error).__name__
            raise AzureSignalRError(f"cannot ask Azure SignalR Service: {reason}", url=url) from error
        _logger.debug("%s %s: status %d", request.method, url, response.status)
        return response


def may_be_repeated(error: BaseException, *, sends: bool) -> bool:
    """Return whether to try again.

    Args:
        error: how it ended.
        sends: it would be bad if the request had arrived nevertheless.
    """
    if not isinstance(error, AzureSignalRError) or (error.retry_after or 0.0) > _LONGEST_WAIT:
        return False
    if error.status is not None:
        return error.status in _REFUSED or (error.status in _UNCERTAIN and not sends)
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return False
    return isinstance(cause, _NEVER_SENT) or (isinstance(cause, OSError) and not sends)


def _delay(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, AzureSignalRError) else None
    return max(_wait(state), asked or 0.0)


def _with_token(request: HttpRequest, token: str | None) -> HttpRequest:
    if token is None:
        return request
    return attrs.evolve(request, headers={**request.headers, "Authorization": f"Bearer {token}"})
