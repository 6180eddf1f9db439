"""HTTPS with certificates of our own, and HTTP proxies, on each transport."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from tests.servers import assert_hides, chain, http_proxy

from signalr_sdk import ConnectionFailedError, HubConnection, NegotiationError, Transport

if TYPE_CHECKING:
    from .conftest import Certificates, Combination
    from .hub_server import HubServer

PASSWORD = "proxy-secret"

every_transport = pytest.mark.parametrize("transport", list(Transport))


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# TLS


async def test_an_authority_of_our_own(
    https_server: HubServer, certificates: Certificates, combination: Combination
) -> None:
    url = https_server.url(https=True)
    async with HubConnection(url, ssl=certificates.client_context(), **combination.options) as hub:
        assert hub.transport is combination.transport
        assert await hub.invoke("Transport") == combination.transport
        assert await hub.invoke("Length", "x" * 100_000) == 100_000
        assert len(await hub.invoke("BigString", 100_000)) == 100_000


@every_transport
async def test_a_client_certificate(
    client_certificate_server: HubServer, certificates: Certificates, transport: Transport
) -> None:
    url = client_certificate_server.url(https=True)
    context = certificates.client_context(certificate=True)
    async with HubConnection(url, ssl=context, transports=transport) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_missing_client_certificate(client_certificate_server: HubServer, certificates: Certificates) -> None:
    url = client_certificate_server.url("/hub?secret=query-secret", https=True)
    hub = HubConnection(url, ssl=certificates.client_context(), access_token="token-secret", reconnect=False)
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    assert_hides(caught.value, "query-secret", "token-secret")
    assert isinstance(caught.value, NegotiationError)
    assert caught.value.url == client_certificate_server.url("/hub/negotiate", https=True)


@every_transport
async def test_a_certificate_that_is_not_trusted(https_server: HubServer, transport: Transport) -> None:
    url = https_server.url("/hub?secret=query-secret", https=True)
    hub = HubConnection(url, transports=transport, access_token="token-secret", reconnect=False)
    with pytest.raises(NegotiationError) as caught:
        await hub.start()
    error = caught.value
    assert "is not trusted" in str(error)
    assert "pass ssl=ssl.create_default_context(cafile=...)" in str(error)
    assert any(isinstance(link, ssl.SSLCertVerificationError) for link in chain(error))
    assert_hides(error, "query-secret", "token-secret")


async def test_a_certificate_that_is_not_trusted_without_negotiation(https_server: HubServer) -> None:
    hub = HubConnection(https_server.url(https=True), skip_negotiation=True)
    with pytest.raises(ConnectionFailedError, match="is not trusted"):
        await hub.start()


@every_transport
async def test_verification_is_off_only_if_the_user_says_so(https_server: HubServer, transport: Transport) -> None:
    async with HubConnection(https_server.url(https=True), ssl=False, transports=transport) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_tls_where_there_is_none(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url().replace("http://", "https://"))
    with pytest.raises(NegotiationError, match="check that it speaks TLS there"):
        await hub.start()


# Proxies


@pytest.mark.parametrize("password", [None, f"user:{PASSWORD}"], ids=["open", "password"])
@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
@every_transport
async def test_through_a_proxy(
    https_server: HubServer, certificates: Certificates, transport: Transport, https: bool, password: str | None
) -> None:
    async with http_proxy(password) as proxy:
        hub = HubConnection(
            https_server.url(https=https),
            proxy=proxy.url.replace("//", f"//{password}@") if password else proxy.url,
            ssl=certificates.client_context(),
            transports=transport,
        )
        async with hub:
            assert await hub.invoke("Transport") == transport
            assert [item async for item in hub.stream("Counter", 5, 0)] == [0, 1, 2, 3, 4]
    assert proxy.lines
    if https:
        assert {line.partition(" ")[0] for line in proxy.lines} == {"CONNECT"}


@every_transport
async def test_a_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, hub_server: HubServer, transport: Transport
) -> None:
    async with http_proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with HubConnection(hub_server.url(), transports=transport) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
    assert proxy.lines


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("given", ["", f"user:{PASSWORD}-wrong@"], ids=["none", "wrong"])
async def test_a_proxy_that_wants_another_password(
    https_server: HubServer, certificates: Certificates, https: bool, given: str
) -> None:
    async with http_proxy("user:right") as proxy:
        hub = HubConnection(
            https_server.url("/hub?secret=query-secret", https=https),
            proxy=proxy.url.replace("//", f"//{given}"),
            ssl=certificates.client_context(),
            access_token="token-secret",
            reconnect=False,
        )
        with pytest.raises(NegotiationError, match="the proxy wants a user and password") as caught:
            await hub.start()
    assert "407" in str(caught.value)
    assert_hides(caught.value, PASSWORD, "query-secret", "token-secret")


async def test_a_proxy_that_is_away(hub_server: HubServer) -> None:
    async with http_proxy() as proxy:
        away = proxy.url
    hub = HubConnection(hub_server.url(), proxy=away.replace("//", f"//user:{PASSWORD}@"))
    with pytest.raises(NegotiationError, match="cannot connect to the proxy") as caught:
        await hub.start()
    assert_hides(caught.value, PASSWORD)
