"""What lies below HTTP, step by step: names, TCP, the tunnel of a proxy, TLS."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs

from .causes import Certificate, of_certificate, of_connect, of_few_days, of_name, of_tls, of_tunnel
from .findings import Finding, Mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from yarl import URL

# Time does not count: a flag of OpenSSL that `ssl` has no name for.
_NO_CHECK_TIME = 0x200000
_FEW_DAYS = 14
_HEAD_LIMIT = 16 * 1024
_MANY = 8


@attrs.frozen
class Place:
    """Where to connect to.

    Attributes:
        host: a name, or an address without brackets.
        port: the port.
        is_proxy: whether that is a proxy.
    """

    host: str
    port: int
    is_proxy: bool = False

    @classmethod
    def of_origin(cls, origin: tuple[str, str, int]) -> Place:
        """Return the place of a server."""
        return cls(origin[1].strip("[]"), origin[2])

    @classmethod
    def of_proxy(cls, url: URL) -> Place:
        """Return the place of a proxy."""
        return cls(url.host or "", url.port or 80, is_proxy=True)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def check_name(place: Place) -> tuple[Finding, list[str]]:
    """Look the host up; return what was found and all its addresses."""
    try:
        found = await _look_up(place)
    except OSError as error:
        said = f"{place.host}: {error.strerror or error}"
        return Finding(Mark.FAILED, said, of_name(place.host, is_proxy=place.is_proxy)), []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if addresses == [place.host]:
        return Finding(Mark.GOOD, f"{place.host} is an address"), addresses
    kinds = (
        "IPv4 and IPv6" if len({":" in each for each in addresses}) > 1 else "IPv6" if ":" in addresses[0] else "IPv4"
    )
    return Finding(Mark.GOOD, f"{place.host}: {', '.join(addresses)} ({kinds})"), addresses


async def _look_up(place: Place) -> list[Any]:
    """Ask the system, in a thread that holds up nobody if it does not come back."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def settle(result: list[Any] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result or [])

    def ask() -> None:
        result, failure = None, None
        try:
            result = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError(0, "that is no name of a host")
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the command has ended

    threading.Thread(target=ask, name="signalr_sdk look-up", daemon=True).start()
    return await answer


async def check_tcp(place: Place, addresses: list[str], limit: float) -> tuple[Finding, str | None]:
    """Connect to each address; return what was found and the fastest that works."""
    tried = addresses[:_MANY]
    results = await asyncio.gather(*(_connect(address, place.port, limit) for address in tried))
    good = sorted((took, address) for address, took in zip(tried, results, strict=True) if isinstance(took, float))
    bad = [(address, error) for address, error in zip(tried, results, strict=True) if isinstance(error, OSError)]
    said = "; ".join(f"{address} {_plain(error)}" for address, error in bad)
    if not good:
        return Finding(
            Mark.FAILED, f"{place}: {said}", of_connect(bad[0][1], place.port, is_proxy=place.is_proxy)
        ), None
    count = f"{len(good)} of {len(tried)} addresses connect" if len(tried) > 1 else "connected"
    works = f"{place}: {count}, {good[0][0] * 1000:.1f} ms"
    if bad:
        reason = of_connect(bad[0][1], place.port, is_proxy=place.is_proxy)
        reason = attrs.evolve(reason, cause=f"not all addresses work, so that connecting can be slow: {reason.cause}")
        return Finding(Mark.WARNING, f"{works}; {said}", reason), good[0][1]
    return Finding(Mark.GOOD, works), good[0][1]


async def _connect(address: str, port: int, limit: float) -> float | OSError:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(limit):
            _reader, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return TimeoutError(f"no answer within {limit:g} s")
    except OSError as error:
        return error
    took = time.perf_counter() - began
    writer.transport.abort()
    return took


def _plain(error: OSError) -> str:
    # asyncio puts the address into its text, again.
    return os.strerror(error.errno) if error.errno else str(error)


@attrs.frozen
class Way:
    """How to get to a server.

    Attributes:
        address: where to connect.
        target: the server.
        proxy: the URL of the proxy that stands between.
    """

    address: str
    target: Place
    proxy: URL | None = attrs.field(default=None, repr=False)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Open a connection on which TLS can begin.

        Raises:
            TunnelError: the proxy refused.
            OSError: the network failed.
        """
        port = Place.of_proxy(self.proxy).port if self.proxy is not None else self.target.port
        reader, writer = await asyncio.open_connection(self.address, port, limit=_HEAD_LIMIT)
        try:
            if self.proxy is not None:
                if self.proxy.scheme == "https":
                    await writer.start_tls(ssl.create_default_context(), server_hostname=self.proxy.host)
                await _ask_for_tunnel(reader, writer, self.target, self.proxy)
            yield writer
        finally:
            writer.transport.abort()


class TunnelError(ConnectionError):
    """The proxy made no tunnel.

    Attributes:
        status: what it answered; `None` if that was no HTTP.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__("no HTTP answer" if status is None else f"status {status}")
        self.status = status


async def _ask_for_tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Place, proxy: URL
) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        secret = f"{unquote(proxy.raw_user or '')}:{unquote(proxy.raw_password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise TunnelError(None) from None
    version, _space, rest = head.partition(b" ")
    if not version.startswith(b"HTTP/") or not rest[:3].isdigit():
        raise TunnelError(None)
    if (status := int(rest[:3])) != 200:
        raise TunnelError(status)


async def check_tunnel(way: Way) -> tuple[Finding, bool]:
    """Have the proxy connect to the server; return what was found and whether it did."""
    try:
        async with way.open():
            return Finding(Mark.GOOD, f"the proxy connects to {way.target}"), True
    except TunnelError as error:
        said = f"the proxy does not connect to {way.target}: {error}"
        return Finding(Mark.FAILED, said, of_tunnel(error.status)), False


async def check_tls(way: Way, verification: ssl.SSLContext | bool) -> tuple[Finding, bool]:
    """Shake hands, verify the certificate, and say what it is and how long it lasts; return whether one can go on."""
    finding = await _check_tls(way, verification)
    return finding, finding.mark is not Mark.FAILED


async def _check_tls(way: Way, verification: ssl.SSLContext | bool) -> Finding:
    host = way.target.host
    context = verification if isinstance(verification, ssl.SSLContext) else ssl.create_default_context()
    try:
        version, certificate = await _shake_hands(way, context)
    except ssl.SSLCertVerificationError as error:
        seen = await _unverified(way)
        reason = of_certificate(error, host, seen, time.time())
        said = f"not trusted: {error.verify_message}" + (f"; {_described(seen)}" if seen else "")
        if verification is False:
            return Finding(Mark.WARNING, f"--insecure, {said}", reason)
        return Finding(Mark.FAILED, said, reason)
    except (ssl.SSLError, ConnectionError) as error:
        return Finding(Mark.FAILED, str(getattr(error, "reason", None) or error), of_tls(error))
    finding = Finding(Mark.GOOD, f"{version}, {_described(certificate)}" if certificate else version)
    days = certificate.days_left(time.time()) if certificate else _FEW_DAYS
    if days < _FEW_DAYS:
        return attrs.evolve(finding, mark=Mark.WARNING, reason=of_few_days(days))
    if verification is False:
        return attrs.evolve(finding, said=f"{finding.said}; --insecure is not needed")
    return finding


async def _shake_hands(way: Way, context: ssl.SSLContext) -> tuple[str, Certificate | None]:
    async with way.open() as writer:
        await writer.start_tls(context, server_hostname=way.target.host)
        secured = writer.get_extra_info("ssl_object")
        return secured.version(), _read(secured.getpeercert())


async def _unverified(way: Way) -> Certificate | None:
    """Return the certificate of a server that is not trusted, if it can be read."""
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    # Python reads a certificate only if it is trusted; so this one is, by itself and for this once.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        async with way.open() as writer:
            await writer.start_tls(careless, server_hostname=way.target.host)
            encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        trusting.load_verify_locations(cadata=encoded)
        _version, certificate = await _shake_hands(way, trusting)
    except OSError:
        return None
    return certificate


def _read(certificate: dict[str, Any] | None) -> Certificate | None:
    if not certificate:
        return None
    issuer = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return Certificate(
        tuple(value for _kind, value in certificate.get("subjectAltName", ())),
        " ".join(issuer[name] for name in ("organizationName", "commonName") if name in issuer),
        ssl.cert_time_to_seconds(certificate["notBefore"]),
        ssl.cert_time_to_seconds(certificate["notAfter"]),
    )


def _described(certificate: Certificate) -> str:
    now = time.time()
    days = certificate.days_left(now)
    left = f"{days} days left" if certificate.ends > now else f"expired {-days} days ago"
    return f"certificate for {', '.join(certificate.names[:3]) or 'no name'} from {certificate.issuer}, {left}"
