"""aiohttp's errors in plain terms: network failures become `OSError`s that name the peer and what to do.

aiohttp's own errors must not get out: they carry the request with its headers, the URL with its query, or the
proxy with its password. What is chained is the plain error of the system below them, at most.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import attrs
from aiohttp.http import HttpProcessingError

from .._core import urls
from .._core.headers import parse_retry_after
from .._core.redaction import redact
from ..errors import TransportError
from ..options import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..interfaces import HttpRequest

_Explained: TypeAlias = tuple[Exception, Exception | None]
"""The error to raise, and what may be chained to it."""

_CLIENT_CERTIFICATE = "if it wants a client certificate, call load_cert_chain() on a context and pass that as ssl="


class BrokenConnectionError(aiohttp.ClientConnectionError):
    """Stands for the errors after which aiohttp would repeat the request without a word."""

    def __init__(self, error: Exception) -> None:
        super().__init__(*error.args)
        self.error = error


def peer(url: str) -> str:
    """Return host and port, as errors name them."""
    _scheme, host, port = urls.origin(url)
    return f"{host}:{port}"


@attrs.frozen
class Attempt:
    """What is being tried.

    Attributes:
        request: what is sent.
        connections: the most that the session holds; 0 for no limit.
        untried: nothing has come from that server yet.
    """

    request: HttpRequest
    connections: int = 0
    untried: bool = False

    @property
    def where(self) -> str:
        """Host and port."""
        return peer(self.request.url)


@contextmanager
def translated(attempt: Attempt) -> Iterator[None]:
    """Let no error of aiohttp out of the block."""
    try:
        yield
    except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
        failure, cause = _explain(error, attempt)
        try:
            raise failure from cause
        finally:
            # `from` only hides it from tracebacks; who walks the chain would still find the request.
            failure.__context__ = None


def _explain(error: Exception, attempt: Attempt) -> _Explained:
    if isinstance(error, BrokenConnectionError):
        error = error.error
    for kind, explain in _EXPLANATIONS:
        if isinstance(error, kind):
            return explain(error, attempt)
    return _loss(error, attempt)


def _proxy_refusal(error: aiohttp.ClientHttpProxyError, attempt: Attempt) -> _Explained:
    where = attempt.where
    if error.status == 407:
        message = (
            f"the proxy wants a user and password to connect to {where} (status 407): "
            "put them into the proxy's URL, as in http://user:password@proxy:3128"
        )
    else:
        message = f"the proxy refused to connect to {where} (status {error.status})"
    return ConnectionError(message), None


def _os_error(error: aiohttp.ClientConnectorError) -> OSError:
    # In aiohttp 3.12 an error about a certificate has no `os_error`.
    os_error: OSError = getattr(error, "certificate_error", None) or error.os_error
    return os_error


def _connect_failure(error: aiohttp.ClientConnectorError, attempt: Attempt) -> _Explained:
    os_error = _os_error(error)
    where = f"{error.host}:{error.port}" if error.port else error.host
    reason = redact(os_error.strerror or str(os_error)) or "it hung up"
    failure: OSError
    if isinstance(os_error, ssl.SSLCertVerificationError):
        failure = _certificate_failure(os_error, where)
    elif isinstance(os_error, ssl.SSLError):
        failure = _tls_failure(os_error, where)
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        failure = ConnectionError(f"cannot connect to the proxy {where}: {reason}")
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        failure = socket.gaierror(os_error.errno or socket.EAI_NONAME, f"cannot find the address of {where}: {reason}")
    else:
        kind = type(os_error) if isinstance(os_error, ConnectionError | TimeoutError) else ConnectionError
        failure = kind(f"cannot connect to {where}: {reason}{_advice(attempt) if kind is ConnectionResetError else ''}")
        failure.errno = os_error.errno
    return failure, _harmless(os_error)


def _certificate_failure(error: ssl.SSLCertVerificationError, where: str) -> ssl.SSLError:
    failure = ssl.SSLCertVerificationError(
        error.errno or 1,
        f"the certificate of {where} is not trusted: {redact(error.verify_message)}; if it comes from a CA of your "
        "own, pass ssl=ssl.create_default_context(cafile=...)",
    )
    failure.verify_code, failure.verify_message = error.verify_code, error.verify_message
    return failure


def _tls_failure(error: ssl.SSLError, where: str) -> ssl.SSLError:
    reason = redact(error.strerror or str(error))
    advice = "check that it speaks TLS there"
    # These are the alerts of a server that wants to know the client.
    if "ALERT" in reason.upper():
        advice = _CLIENT_CERTIFICATE
    return ssl.SSLError(error.errno or 1, f"the TLS connection to {where} failed: {reason}; {advice}")


def _response_failure(error: aiohttp.ClientResponseError, attempt: Attempt) -> _Explained:
    if isinstance(error.__cause__, HttpProcessingError):
        return _no_http(error, attempt)
    location = error.headers.get("Location") if error.headers else None
    if error.status == 101:
        message = f"the server's upgrade to WebSocket is wrong: {redact(error.message)}"
    elif location:
        message = f"the server redirects to {redact(urls.without_query(location))} instead of opening a WebSocket"
    else:
        message = "the server did not open a WebSocket"
    retry_after = parse_retry_after(error.headers.get("Retry-After"), time.time()) if error.headers else None
    refusal = TransportError(
        message,
        transport=Transport.WEBSOCKETS,
        url=urls.without_query(attempt.request.url),
        status=error.status,
        retry_after=retry_after,
    )
    return refusal, None


def _no_http(_error: Exception, attempt: Attempt) -> _Explained:
    return ConnectionError(f"what {attempt.where} answered is not valid HTTP, or is cut short"), None


def _wrong_url(_error: Exception, attempt: Attempt) -> _Explained:
    return ConnectionError(f"this URL cannot be used: {urls.without_query(attempt.request.url)}"), None


def _connect_timeout(_error: TimeoutError, attempt: Attempt) -> _Explained:
    message = f"cannot connect to {attempt.where}{_within(attempt.request.connect_timeout)}{_pool_advice(attempt)}"
    return TimeoutError(message), None


def _timeout(error: TimeoutError, attempt: Attempt) -> _Explained:
    if error.errno is not None:
        return _loss(error, attempt)
    limit = attempt.request.timeout
    # aiohttp rounds its own limits up, so where both are the same this one is first.
    advice = _pool_advice(attempt) if limit == attempt.request.connect_timeout else ""
    return TimeoutError(f"no answer from {attempt.where}{_within(limit)}{advice}"), None


def _within(limit: float | None) -> str:
    return f" within {limit:g} s" if limit else " in time"


def _pool_advice(attempt: Attempt) -> str:
    if not attempt.connections:
        return ""
    return (
        f"; if the shared session has all of its {attempt.connections} connections in use, make it with "
        "aiohttp.TCPConnector(limit=0)"
    )


def _refused_by_aiohttp(error: ValueError, attempt: Attempt) -> _Explained:
    return ConnectionError(f"aiohttp refuses to send the request to {attempt.where}: {redact(str(error))}"), None


def _loss(error: Exception, attempt: Attempt) -> _Explained:
    where = attempt.where
    plain = error.__cause__ if isinstance(error, aiohttp.ClientError) else error
    if isinstance(plain, ssl.SSLError):
        return _tls_failure(plain, where), _harmless(plain)
    message = f"the connection to {where} was lost before its answer had come{_advice(attempt)}"
    return ConnectionResetError(message), _harmless(plain)


def _advice(attempt: Attempt) -> str:
    # Many servers send no alert when they miss a certificate: they just leave.
    tls = attempt.untried and attempt.request.url.startswith("https:")
    return f"; {_CLIENT_CERTIFICATE}" if tls else ""


def _harmless(error: BaseException | None) -> Exception | None:
    """Return the error if it is one of the system, which knows nothing of requests."""
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error


# The first that fits: an error of aiohttp is often several of these.
_EXPLANATIONS: tuple[tuple[type[Exception], Callable[[Any, Attempt], _Explained]], ...] = (
    (aiohttp.ClientHttpProxyError, _proxy_refusal),
    (aiohttp.ClientConnectorError, _connect_failure),
    (aiohttp.ClientResponseError, _response_failure),
    (aiohttp.ConnectionTimeoutError, _connect_timeout),
    (TimeoutError, _timeout),
    (aiohttp.InvalidURL, _wrong_url),
    (aiohttp.NonHttpUrlClientError, _wrong_url),
    (HttpProcessingError, _no_http),
    (aiohttp.ClientPayloadError, _no_http),
    (aiohttp.ClientError, _loss),
    (OSError, _loss),  # ssl.SSLCertVerificationError is a ValueError too
    (ValueError, _refused_by_aiohttp),
)
