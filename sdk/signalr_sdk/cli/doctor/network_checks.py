"""The checks of `signalr doctor` below HTTP: the host's name, TCP, the tunnel through a proxy, TLS."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import socket
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs

from . import network_advice as advice
from .findings import Finding, Mark
from .network_advice import Certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from yarl import URL

# OpenSSL's flag X509_V_FLAG_NO_CHECK_TIME, which accepts expired certificates. Python's module `ssl` does not have this
# flag.
_NO_CHECK_TIME = 0x200000
_FEW_DAYS = 14
_HEAD_LIMIT = 16 * 1024
_MOST_ADDRESSES = 8


@attrs.frozen
class HostPort:
    """Host and port of a server or of a proxy.

    Attributes:
        host: a name, or an IP address; an IPv6 address has no brackets.
        port: the port.
        is_proxy: whether this is a proxy.
    """

    host: str
    port: int
    is_proxy: bool = attrs.field(default=False, kw_only=True)

    @classmethod
    def of_origin(cls, origin: tuple[str, str, int]) -> HostPort:
        """Return host and port of a server. `origin` is a tuple of scheme, host and port, as in the server's URL."""
        return cls(origin[1].strip("[]"), origin[2])

    @classmethod
    def of_proxy(cls, url: URL) -> HostPort:
        """Return host and port of the proxy with this URL; the port is 80 by default."""
        return cls(url.host or "", url.port or 80, is_proxy=True)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def check_name(target: HostPort) -> tuple[Finding, list[str]]:
    """Look up the host's name.

    Return a tuple of the check's result (`Finding`) and the list of IP addresses, which is empty if the look-up failed.
    """
    try:
        found = await _look_up(target)
    except OSError as error:
        said = f"{target.host}: {error.strerror or error}"
        return Finding(Mark.FAILED, said, advice=advice.for_name(target.host, is_proxy=target.is_proxy)), []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if addresses == [target.host]:
        return Finding(Mark.GOOD, f"{target.host} is an address"), addresses
    kinds = {"IPv6" if ":" in each else "IPv4" for each in addresses}
    return Finding(Mark.GOOD, f"{target.host}: {', '.join(addresses)} ({' and '.join(sorted(kinds))})"), addresses


async def _look_up(target: HostPort) -> list[Any]:
    """Look the host up on a daemon thread: a look-up that hangs must not keep the command from ending."""
    # Import `signalr_sdk.sync` only here: no other command needs this package, and importing takes time.
    from ...sync.daemon_threads import run_on_thread

    ask = functools.partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    try:
        return await run_on_thread(ask, "look-up")
    except UnicodeError:
        raise OSError(0, "that is no name of a host") from None


async def check_tcp(target: HostPort, addresses: list[str], limit: float) -> tuple[Finding, str | None]:
    """Connect to each IP address over TCP.

    Return a tuple of the check's result (`Finding`) and the fastest address; `None` if no address could be reached.
    """
    tried = addresses[:_MOST_ADDRESSES]
    results = await asyncio.gather(*(_connect(address, target.port, limit) for address in tried))
    good = sorted((took, address) for address, took in zip(tried, results, strict=True) if isinstance(took, float))
    bad = [(address, error) for address, error in zip(tried, results, strict=True) if isinstance(error, OSError)]
    said = "; ".join(
        _plain(error) if tried == [target.host] else f"{address} {_plain(error)}" for address, error in bad
    )
    why = advice.for_tcp(bad[0][1], target.port, is_proxy=target.is_proxy) if bad else None
    if not good:
        return Finding(Mark.FAILED, f"{target}: {said}", advice=why), None
    count = f"{len(good)} of {len(tried)} addresses connect" if len(tried) > 1 else "connected"
    works = f"{target}: {count}"
    if why is not None:
        why = attrs.evolve(why, cause=f"not all addresses work, so that connecting can be slow: {why.cause}")
        return Finding(Mark.WARNING, f"{works}; {said}", advice=why), good[0][1]
    return Finding(Mark.GOOD, works), good[0][1]


async def _connect(address: str, port: int, limit: float) -> float | OSError:
    """Connect to an IP address over TCP; return the seconds that connecting took, or the error."""
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
    # Do not use the text of asyncio's error: this text has the IP address, which would be shown twice.
    return os.strerror(error.errno) if error.errno else str(error)


@attrs.frozen
class Route:
    """The way to a server: directly, or through a proxy.

    Attributes:
        address: the IP address to connect to: that of the proxy if there is one, otherwise that of the server.
        server: host and port of the server.
        proxy: URL of the proxy on the way, if there is one.
    """

    address: str
    server: HostPort
    proxy: URL | None = attrs.field(default=None, repr=False, kw_only=True)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[asyncio.StreamWriter]:
        """Open a TCP connection to the server, through the proxy if there is one.

        Raises:
            TunnelError: the proxy refused the tunnel.
            OSError: the network failed.
        """
        port = HostPort.of_proxy(self.proxy).port if self.proxy is not None else self.server.port
        reader, writer = await asyncio.open_connection(self.address, port, limit=_HEAD_LIMIT)
        try:
            if self.proxy is not None:
                if self.proxy.scheme == "https":
                    await writer.start_tls(ssl.create_default_context(), server_hostname=self.proxy.host)
                await self._request_tunnel(reader, writer, self.proxy)
            yield writer
        finally:
            writer.transport.abort()

    async def _request_tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: URL) -> None:
        lines = [f"CONNECT {self.server} HTTP/1.1", f"Host: {self.server}"]
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


class TunnelError(ConnectionError):
    """The proxy did not open a tunnel to the server.

    Attributes:
        status: HTTP status of the proxy's answer; `None` if the answer was not HTTP.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__("no HTTP answer" if status is None else f"status {status}")
        self.status = status


async def check_tunnel(route: Route) -> tuple[Finding, bool]:
    """Ask the proxy for a tunnel to the server.

    Return a tuple of the check's result (`Finding`) and whether the proxy opened the tunnel.
    """
    try:
        async with route.open():
            return Finding(Mark.GOOD, f"the proxy connects to {route.server}"), True
    except TunnelError as error:
        said = f"the proxy does not connect to {route.server}: {error}"
        return Finding(Mark.FAILED, said, advice=advice.for_tunnel(error.status)), False


async def check_tls(route: Route, verification: ssl.SSLContext | bool) -> tuple[Finding, bool]:
    """Do the TLS handshake and verify the certificate.

    Return a tuple of the check's result (`Finding`) and whether the check has not failed.

    Args:
        route: the way to the server.
        verification: the `ssl` argument of the connection; with `False` a bad certificate is a warning only.
    """
    finding = await _check_tls(route, verification)
    return finding, finding.mark is not Mark.FAILED


async def _check_tls(route: Route, verification: ssl.SSLContext | bool) -> Finding:
    context = verification if isinstance(verification, ssl.SSLContext) else ssl.create_default_context()
    try:
        version, certificate = await _shake_hands(route, context)
    except ssl.SSLCertVerificationError as error:
        seen = await _untrusted_certificate(route)
        why = advice.for_certificate(error, route.server.host, seen, time.time())
        said = f"not trusted: {error.verify_message}" + (f"; {_described(seen)}" if seen else "")
        if verification is False:
            return Finding(Mark.WARNING, f"--insecure, {said}", advice=why)
        return Finding(Mark.FAILED, said, advice=why)
    except (ssl.SSLError, ConnectionError) as error:
        said = str(getattr(error, "reason", None) or error) or "the connection was closed"
        return Finding(Mark.FAILED, said, advice=advice.for_tls(error))
    finding = Finding(Mark.GOOD, f"{version}, {_described(certificate)}" if certificate else version)
    days = certificate.days_left(time.time()) if certificate else _FEW_DAYS
    if days < _FEW_DAYS:
        return attrs.evolve(finding, mark=Mark.WARNING, advice=advice.for_expiring(days))
    if verification is False:
        return attrs.evolve(finding, said=f"{finding.said}; --insecure is not needed")
    return finding


async def speaks_tls(route: Route) -> bool:
    """Return whether the server does a TLS handshake, with whatever certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with route.open() as writer:
            await writer.start_tls(context, server_hostname=route.server.host)
    except ssl.SSLError as error:
        # The server speaks TLS too if it refuses this client in TLS's own words, by an alert.
        return "ALERT" in str(error.reason)
    except OSError:
        return False
    return True


async def _shake_hands(route: Route, context: ssl.SSLContext) -> tuple[str, Certificate | None]:
    """Do the TLS handshake over a new connection.

    Return a tuple of the TLS version and the certificate; `None` if the handshake did not verify the certificate.
    """
    async with route.open() as writer:
        await writer.start_tls(context, server_hostname=route.server.host)
        secured = writer.get_extra_info("ssl_object")
        return secured.version(), _parsed(secured.getpeercert())


async def _untrusted_certificate(route: Route) -> Certificate | None:
    """Connect again to read a server's certificate that is not trusted. Return `None` if reading fails."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    # Python parses only a certificate that was verified, so connect twice. The first time, get the encoded certificate
    # without verification. The second time, trust exactly this certificate, even if it has expired or is for another
    # host.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        async with route.open() as writer:
            await writer.start_tls(unverified, server_hostname=route.server.host)
            encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        trusting.load_verify_locations(cadata=encoded)
        _version, certificate = await _shake_hands(route, trusting)
    except OSError:
        return None
    return certificate


def _parsed(certificate: dict[str, Any] | None) -> Certificate | None:
    if not certificate:
        return None
    issuer = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return Certificate(
        tuple(value for _kind, value in certificate.get("subjectAltName", ())),
        " ".join(issuer[name] for name in ("organizationName", "commonName") if name in issuer),
        ends=ssl.cert_time_to_seconds(certificate["notAfter"]),
    )


def _described(certificate: Certificate) -> str:
    now = time.time()
    days = certificate.days_left(now)
    left = f"{days} days left" if certificate.ends > now else f"expired {-days} days ago"
    return f"certificate for {', '.join(certificate.names[:3]) or 'no name'} from {certificate.issuer}, {left}"
