"""`signalr doctor` names the right cause for each of many broken set-ups. The table at the end lists them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import errno
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import pytest
import trustme
from aiohttp import web
from tests.servers import app_server, http_proxy, in_thread, raw_server

from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RawConnection

    from .conftest import Signalr

pytestmark = pytest.mark.timeout(60)

TOKEN = "token-secret"
NOW = datetime.datetime.now(datetime.UTC)
# A set-up gives the arguments for `signalr doctor`: the URL and options.
SetUp: TypeAlias = Callable[[pytest.MonkeyPatch], AbstractContextManager[tuple[str, ...]]]


@attrs.frozen
class Broken:
    """A broken set-up, and what `signalr doctor` must say about it.

    Attributes:
        name: what is broken.
        set_up: makes the set-up.
        where: the check or step that must be named first.
        cause: a part of the cause that must be named first.
    """

    name: str
    set_up: SetUp
    where: str
    cause: str


# Networks


def url(*arguments: str) -> SetUp:
    """Nothing but arguments."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        yield arguments

    return set_up


def looked_up(answer: Callable[..., Any], *more: str) -> SetUp:
    """Another look-up of names."""

    @contextlib.contextmanager
    def set_up(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        patch.setattr("signalr_sdk.cli.doctor.network_checks.socket.getaddrinfo", answer)
        yield ("http://somewhere.invalid/hub", *more)

    return set_up


def unknown(*_arguments: Any, **_options: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@contextlib.contextmanager
def hanging_look_up(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    release = threading.Event()

    def hang(*_arguments: Any, **_options: Any) -> Any:
        release.wait()
        return []

    with looked_up(hang, "--timeout", "0.3")(patch) as arguments:
        yield arguments
    release.set()


def connecting(error: Exception | None, *more: str) -> SetUp:
    """Another answer to each TCP connection: an error, or none at all."""

    @contextlib.contextmanager
    def set_up(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        async def open_connection(*_arguments: Any, **_options: Any) -> Any:
            if error is not None:
                raise error
            await asyncio.Event().wait()

        patch.setattr("signalr_sdk.cli.doctor.network_checks.asyncio.open_connection", open_connection)
        yield ("http://127.0.0.1:8080/hub", *more)

    return set_up


@contextlib.contextmanager
def one_address_of_two(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    really = socket.getaddrinfo

    def two(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "two.invalid":
            return really(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.1.2.3", "127.0.0.1")]

    with HubServer({"/hub": Hub}) as server:
        patch.setattr("socket.getaddrinfo", two)
        yield f"http://two.invalid:{server.port}/hub", "--keep-alive", "0"


# Servers that are no hubs


def served(
    serve: Callable[[RawConnection], Any], *more: str, scheme: str = "http", tls: ssl.SSLContext | None = None
) -> SetUp:
    """A server that does this for each connection."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        with in_thread(raw_server(serve, tls)) as server:
            yield (f"{scheme}://127.0.0.1:{server.port}/hub", *more)

    return set_up


def answering(status: int, body: bytes = b"", *more: str, **headers: str) -> SetUp:
    """A server that answers each request in this way."""

    async def serve(connection: RawConnection) -> None:
        while await connection.request() is not None:
            connection.answer(status, body, **headers)

    return served(serve, *more)


async def silent(connection: RawConnection) -> None:
    await connection.reader.read()


async def hanging_up(connection: RawConnection) -> None:
    connection.cut()


async def speaking_ssh(connection: RawConnection) -> None:
    connection.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def plain(connection: RawConnection) -> None:
    # A port that is closed over bytes that nobody read resets the connection, and the answer may be lost.
    await connection.reader.read(5)
    connection.answer(400)
    await connection.reader.read()


async def no_protocol(connection: RawConnection) -> None:
    await connection.reader.read(5)
    connection.write(bytes([21, 3, 1, 0, 2, 2, 70]))  # TLS's alert "protocol version"
    await connection.reader.read()


def negotiated(*transports: str) -> bytes:
    """Return the answer to negotiate with these transports."""
    offered = [{"transport": name, "transferFormats": ["Text"]} for name in transports]
    answer = {"negotiateVersion": 1, "connectionId": "a", "connectionToken": "b", "availableTransports": offered}
    return json.dumps(answer).encode()


def after_negotiate(status: int, *more: str) -> SetUp:
    """A server that negotiates, and answers each further request with a status."""

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            is_negotiate = "/negotiate" in request.target
            connection.answer(200 if is_negotiate else status, negotiated("WebSockets") if is_negotiate else b"")

    return served(serve, *more)


# Hubs


def hub(*more: str, hub: type[Hub] = Hub, fault: Callable[[HubServer], Any] | None = None, **options: Any) -> SetUp:
    """A hub with a fault."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        with HubServer({"/hub": hub}, **options) as server:
            if fault is not None:
                fault(server)
            yield (server.url("/hub"), "--keep-alive", "0", *more)

    return set_up


class Refusing(Hub):
    """Ends each connection at once."""

    async def on_connected(self) -> None:
        raise RuntimeError("no")


class Leaving(Hub):
    """Ends each connection when it has been idle."""

    async def on_connected(self) -> None:
        asyncio.get_running_loop().call_later(0.5, self.context.abort)


def jwt(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def only_token(token: str | None) -> str | None:
    return "me" if token == TOKEN else None


@contextlib.contextmanager
def no_endpoint_but_another(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """An endpoint of MapConnectionHandler: it takes WebSockets, and does not know the handshake."""

    async def negotiate(_request: web.Request) -> web.Response:
        return web.Response(body=negotiated("WebSockets"))

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_post("/hub/negotiate", negotiate)
    app.router.add_get("/hub", connect)
    with in_thread(app_server(app)) as server:
        yield f"{server}/hub", "--timeout", "1"


def redirecting(target: str) -> SetUp:
    """A hub that redirects to another URL; `{here}` is its own."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        here = ""

        async def serve(connection: RawConnection) -> None:
            while await connection.request() is not None:
                answer = {"url": target.format(here=here), "accessToken": "service-secret"}
                connection.answer(200, json.dumps(answer).encode())

        with in_thread(raw_server(serve)) as server:
            here = f"{server.url}/hub"
            yield (here,)

    return set_up


# TLS

AUTHORITY = trustme.CA(organization_name="Acme Tests")


def context_of(*names: str, **more: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*(names or ("127.0.0.1",)), **more).configure_cert(context)
    return context


def tls_hub(make: Callable[[], ssl.SSLContext], *, trusted: bool = True, scheme: str = "https") -> SetUp:
    """A hub over TLS, whose authority the client trusts or not."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        with AUTHORITY.cert_pem.tempfile() as file, HubServer({"/hub": Hub}, ssl=make()) as server:
            ca = ("--ca", file) if trusted else ()
            yield (f"{scheme}://127.0.0.1:{server.port}/hub", "--keep-alive", "0", *ca)

    return set_up


def self_signed() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with AUTHORITY.cert_pem.tempfile() as certificate, AUTHORITY.private_key_pem.tempfile() as key:
        context.load_cert_chain(certificate, key)
    return context


def openssl(make: Callable[[], ssl.SSLContext]) -> SetUp:
    """A TLS server on a thread. Unlike a server of asyncio, it sends the alerts of OpenSSL to the client."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        context = make()

        def serve() -> None:
            while True:
                try:
                    client, _address = listener.accept()
                except OSError:
                    return
                client.settimeout(10)
                with contextlib.suppress(OSError), client, context.wrap_socket(client, server_side=True) as secured:
                    secured.recv(1)

        with AUTHORITY.cert_pem.tempfile() as file, socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield f"https://127.0.0.1:{listener.getsockname()[1]}/hub", "--ca", file
            finally:
                # `close` alone does not end an `accept` that waits.
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    return set_up


def wanting_a_client_certificate() -> ssl.SSLContext:
    context = context_of()
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def with_one_cipher() -> ssl.SSLContext:
    context = context_of()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    return context


# Proxies


def proxied(serve: Callable[[RawConnection], Any], target: str, *more: str) -> SetUp:
    """A proxy that does this for each connection."""

    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        with in_thread(raw_server(serve)) as proxy:
            yield (target, "--proxy", proxy.url, *more)

    return set_up


def refusing(status: int) -> Callable[[RawConnection], Any]:
    async def serve(connection: RawConnection) -> None:
        await connection.head()
        connection.answer(status)

    return serve


def locked_proxy(target: str) -> SetUp:
    @contextlib.contextmanager
    def set_up(_patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
        with in_thread(http_proxy("me:secret")) as proxy:
            yield target, "--proxy", proxy.url

    return set_up


@contextlib.contextmanager
def proxy_of_the_environment(patch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    patch.setenv("http_proxy", "http://127.0.0.1:1")
    yield ("http://example.invalid/hub",)


SECURE = "https://127.0.0.1:1/hub"
PAGE = b"<!doctype html><title>Welcome</title>"

SETUPS = [
    # The network
    Broken("a name that nobody knows", looked_up(unknown), "name", "misspelt"),
    Broken("a name with an empty part", url("http://a..b/hub"), "name", "misspelt"),
    Broken("a look-up that hangs", hanging_look_up, "name", "it hangs"),
    Broken("nobody listens", url("http://127.0.0.1:1/hub"), "TCP", "nothing listens on port 1"),
    Broken("no route", connecting(OSError(errno.EHOSTUNREACH, "x")), "TCP", "there is no route"),
    Broken(
        "a firewall that drops packets", connecting(None, "--timeout", "0.3"), "TCP", "a firewall drops the packets"
    ),
    Broken("one address of two", one_address_of_two, "TCP", "not all addresses work"),
    Broken("a server that is silent", served(silent, "--timeout", "0.5"), "negotiate", "no usable answer"),
    Broken("a server that hangs up", served(hanging_up), "negotiate", "no usable answer"),
    Broken("a server of SSH", served(speaking_ssh), "negotiate", "no usable answer"),
    # TLS
    Broken("http to a port of HTTPS", tls_hub(context_of, scheme="http"), "negotiate", "this port speaks HTTPS"),
    Broken("https to a port of HTTP", served(plain, scheme="https"), "TLS", "does not speak TLS"),
    Broken("TLS that hangs", served(silent, "--timeout", "0.5", scheme="https"), "TLS", "it hangs"),
    Broken("TLS that breaks off", served(hanging_up, scheme="https"), "TLS", "ends the connection when TLS begins"),
    Broken("TLS that is too old", served(no_protocol, scheme="https"), "TLS", "no TLS version or cipher"),
    Broken("no cipher in common", openssl(with_one_cipher), "TLS", "no TLS version or cipher"),
    Broken("an authority of one's own", tls_hub(context_of, trusted=False), "TLS", "an authority (Acme Tests"),
    Broken("a certificate signed by itself", tls_hub(self_signed, trusted=False), "TLS", "is signed by itself"),
    Broken(
        "an expired certificate",
        tls_hub(lambda: context_of(not_after=NOW - datetime.timedelta(days=3))),
        "TLS",
        "the certificate has expired 3 days ago",
    ),
    Broken(
        "a certificate of tomorrow",
        tls_hub(lambda: context_of(not_before=NOW + datetime.timedelta(days=1))),
        "TLS",
        "is not valid yet",
    ),
    Broken(
        "a certificate that ends soon",
        tls_hub(lambda: context_of(not_after=NOW + datetime.timedelta(days=3, hours=1))),
        "TLS",
        "expires in 3 days",
    ),
    Broken("a certificate for another host", tls_hub(lambda: context_of("b.example")), "TLS", "it is for b.example"),
    Broken(
        "a client certificate is wanted",
        openssl(wanting_a_client_certificate),
        "negotiate",
        "a certificate of the client",
    ),
    # Proxies
    Broken("a proxy that does not run", url(SECURE, "--proxy", "http://127.0.0.1:1"), "TCP", "the proxy cannot be"),
    Broken("the environment's proxy does not run", proxy_of_the_environment, "TCP", "the proxy cannot be reached"),
    Broken("a proxy that wants a password", locked_proxy(SECURE), "tunnel", "wants a user and password"),
    Broken("the same without TLS", locked_proxy("http://127.0.0.1:1/hub"), "negotiate", "wants a user and password"),
    Broken("a proxy that forbids", proxied(refusing(403), SECURE), "tunnel", "does not let connections"),
    Broken("a proxy that is none", proxied(speaking_ssh, SECURE), "tunnel", "is no HTTP proxy"),
    Broken("a proxy that is silent", proxied(silent, SECURE, "--timeout", "0.5"), "tunnel", "it hangs"),
    # Web servers
    Broken("a wrong path", answering(404), "negotiate", "there is no hub at this path"),
    Broken("a server of files", answering(405), "negotiate", "there is no hub at this path"),
    Broken("a web page", answering(200, PAGE, Content_Type="text/html"), "negotiate", "a web page comes instead"),
    Broken("a login page", answering(302, Location="/Account/Login?ReturnUrl=x"), "negotiate", "a login page"),
    Broken("a hub that has moved", answering(301, Location="https://b.example/hub"), "negotiate", "the hub has moved"),
    Broken("another JSON", answering(200, b'{"status": "ok"}'), "negotiate", "something else than a SignalR hub"),
    Broken("no JSON at all", answering(200, b"hello"), "negotiate", "something else than a SignalR hub"),
    Broken("a refusal in JSON", answering(200, b'{"error": "not you"}'), "negotiate", "refuses this client itself"),
    Broken(
        "half an answer of a classic server",
        answering(200, b'{"Url": "/signalr", "ConnectionToken": "x", "ProtocolVersion": "1.5"}'),
        "settings",
        "something else than a SignalR hub",
    ),
    Broken("a request that is refused", answering(400), "negotiate", "the server refuses the request"),
    Broken("no rights", answering(403), "negotiate", "refuses this user, or everybody"),
    Broken("too many requests", answering(429), "negotiate", "too many requests"),
    Broken("an application that fails", answering(500), "negotiate", "the application on the server fails"),
    Broken("a gateway without its hub", answering(502), "negotiate", "does not reach the hub behind it"),
    Broken("a hub that is down", answering(503), "negotiate", "is not available at the moment"),
    Broken("a gateway that waits in vain", answering(504), "negotiate", "does not reach the hub behind it"),
    # Tokens
    Broken("no token", hub(authorize=only_token), "negotiate", "the hub wants a token, and none was given"),
    Broken(
        "a wrong token",
        hub("--token", "wrong", authorize=only_token),
        "negotiate",
        "the token of --token is not accepted",
    ),
    Broken(
        "an expired token",
        hub("--token", jwt(exp=time.time() - 7300), authorize=only_token),
        "negotiate",
        "the token of --token expired 2 h ago",
    ),
    Broken(
        "a token of tomorrow",
        hub("--token", jwt(nbf=time.time() + 86400, exp=time.time() + 90000), authorize=only_token),
        "negotiate",
        "the token of --token is not valid yet",
    ),
    Broken(
        "a token only for negotiate", after_negotiate(401), "WebSockets, connect", "is accepted by negotiate, but not"
    ),
    # Redirects
    Broken("a redirect to nowhere", redirecting("http://127.0.0.1:1/hub"), "negotiate", "redirects to another server"),
    Broken("redirects in a circle", redirecting("{here}"), "negotiate", "in a circle"),
    # Transports
    Broken(
        "nothing in common", hub("--transport", "ws", transports=["LongPolling"]), "transports", "offers no transport"
    ),
    Broken(
        "no WebSockets on the way",
        hub(fault=lambda server: server.faults.refuse(400, at="connect", transport="WebSockets")),
        "WebSockets, connect",
        "lets no WebSocket through",
    ),
    Broken(
        "no event streams on the way",
        hub(fault=lambda server: server.faults.refuse(403, at="connect", transport="ServerSentEvents")),
        "ServerSentEvents, connect",
        "refuses this transport, or buffers",
    ),
    Broken(
        "events that are buffered",
        hub("--timeout", "2", fault=lambda server: server.faults.stall(at="frame out", transport="ServerSentEvents")),
        "ServerSentEvents, connect",
        "buffers what the hub says",
    ),
    Broken("no sticky sessions", after_negotiate(404), "WebSockets, connect", "without sticky sessions"),
    Broken("only negotiate is let through", after_negotiate(403), "WebSockets, connect", "but none of the requests"),
    Broken(
        "another endpoint of SignalR", no_endpoint_but_another, "WebSockets, connect", "another endpoint of SignalR"
    ),
    Broken("no MessagePack", hub(protocols=["json"]), "MessagePack", "does not speak MessagePack"),
    Broken("a hub that ends connections", hub(hub=Refusing), "WebSockets", "right after it was opened"),
    # Idle connections
    Broken("no pings", hub("--keep-alive", "0.3", keep_alive=None), "keep-alive", "KeepAliveInterval"),
    Broken(
        "idle connections are ended", hub("--keep-alive", "20", hub=Leaving), "keep-alive", "closes idle connections"
    ),
]


def test_there_are_at_least_fifty() -> None:
    assert len({broken.name for broken in SETUPS}) == len(SETUPS) >= 50


@pytest.mark.parametrize("broken", SETUPS, ids=lambda broken: broken.name)
def test_the_cause_is_named(signalr: Signalr, monkeypatch: pytest.MonkeyPatch, broken: Broken) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SIGNALR_TOKEN", "SIGNALR_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with monkeypatch.context() as patch, broken.set_up(patch) as arguments:
        done = signalr("doctor", *arguments, "--json")
    problem = json.loads(done.out)["problems"][0]
    assert broken.where in problem["where"], problem
    assert broken.cause in problem["cause"], problem
    assert "=" not in problem["advice"].replace("NAME=VALUE", ""), "advice is in options, not in Python"
