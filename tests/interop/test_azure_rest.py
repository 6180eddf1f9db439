"""`AzureSignalR` against the imitated service: every operation of the REST API, and clients of both protocols."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import attrs
import jwt
import pytest
from tests.servers import assert_hides

from signalr_sdk import ConnectionClosedError, HubConnection, InvocationTimeoutError, NegotiationError, Transport
from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk.azure import AzureSignalRError, GroupConnection

from .azure import PRIMARY, SECONDARY, WRONG, Clock, azure_at, connection_string, known, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalr_sdk.azure import AzureSignalR

    from .conftest import Combination
    from .hub_server import HubServer

MESSAGE = "ReceiveMessage"


class Client:
    """A connected client, and the events that it got."""

    def __init__(self, hub: HubConnection) -> None:
        self.hub = hub
        self.got: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()
        hub.on(MESSAGE, self._take)

    def _take(self, *args: Any) -> None:
        self.got.append(args)
        self._changed.set()

    @property
    def id(self) -> str:
        assert self.hub.connection_id is not None
        return self.hub.connection_id

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(known(self.hub))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def has(self, *events: tuple[Any, ...]) -> None:
        """Wait until it got these events; it must get no others."""
        async with asyncio.timeout(5):
            while len(self.got) < len(events):
                self._changed.clear()
                await self._changed.wait()
        # What went to it before this has arrived too: one connection keeps the order.
        await self.hub.invoke("Nothing")
        assert self.got == list(events)
        self.got.clear()


@pytest.fixture
async def azure(hub_server: HubServer, request: pytest.FixtureRequest) -> AsyncIterator[AzureSignalR]:
    """A hub of each test's own, so that no other's clients are in it."""
    name = "T" + str(abs(hash(request.node.nodeid)))
    async with azure_at(hub_server, name) as azure:
        yield azure


@pytest.fixture
async def clients(azure: AzureSignalR) -> AsyncIterator[tuple[Client, Client, Client]]:
    """Anna with JSON and with MessagePack, and Bert with JSON over long polling."""
    async with AsyncExitStack() as stack:
        anna = Client(azure.connect("anna"))
        anna_too = Client(azure.connect("anna", protocol="messagepack"))
        bert = Client(azure.connect(user_id="bert", transports=Transport.LONG_POLLING))
        for client in (anna, anna_too, bert):
            await stack.enter_async_context(client)
        yield anna, anna_too, bert


Clients = tuple[Client, Client, Client]


# A round trip


async def test_negotiator_clients_and_sender(azure: AzureSignalR) -> None:
    text = Client(await connected(azure, "anna", protocol="json"))
    binary = Client(await connected(azure, "bert", protocol="messagepack"))
    async with text, binary:
        await azure.add_to_group(text.id, "both")
        await azure.add_to_group(binary.id, "both")
        await azure.send_user("anna", MESSAGE, 1)
        await azure.send_group("both", MESSAGE, 2, {"a": [True, None, 0.5]})
        await azure.send_all(MESSAGE, "three")
        await text.has((1,), (2, {"a": [True, None, 0.5]}), ("three",))
        await binary.has((2, {"a": [True, None, 0.5]}), ("three",))
        for client in (text, binary):
            client.hub.on("Double", lambda n: 2 * n)
            assert await azure.invoke_connection(client.id, "Double", 21) == 42


async def connected(azure: AzureSignalR, user: str, **options: Any) -> HubConnection:
    """Return a connection made of what one's own negotiate endpoint would answer."""
    answer = await azure.negotiate(user)
    assert answer.keys() == {"url", "accessToken"}
    return HubConnection(answer["url"], access_token=answer["accessToken"], **options)


async def test_connect_works_on_every_combination(azure: AzureSignalR, combination: Combination) -> None:
    async with azure.connect("anna", reconnect=False, **combination.options) as hub:
        assert await hub.invoke("User") == "anna"
        assert await hub.invoke("Query", "hub") == azure.hub
        assert hub.transport is combination.transport


async def test_connect_without_negotiation_and_without_a_user(azure: AzureSignalR) -> None:
    async with azure.connect(skip_negotiation=True) as hub:
        assert await hub.invoke("User") is None


# Each operation


@pytest.mark.parametrize("key", [PRIMARY, SECONDARY], ids=["primary", "secondary"])
async def test_every_operation_with_both_keys(hub_server: HubServer, key: str, request: pytest.FixtureRequest) -> None:
    async with azure_at(hub_server, "T" + str(abs(hash(request.node.nodeid))), key=key) as azure:
        client = Client(azure.connect("anna", reconnect=False))
        async with client:
            client.hub.on("Ask", lambda: "answer")
            await every_operation(azure, client)
            with pytest.raises(ConnectionClosedError):
                await client.hub.wait_closed()


async def every_operation(azure: AzureSignalR, client: Client) -> None:
    assert await azure.health()
    await azure.add_to_group(client.id, "g")
    await azure.add_user_to_group("anna", "h", ttl=60)
    assert await azure.connection_exists(client.id)
    assert await azure.user_exists("anna")
    assert await azure.group_exists("g")
    assert await azure.user_in_group("anna", "h")
    assert [each async for each in azure.group_connections("g")] == [GroupConnection(client.id, "anna")]
    await azure.send_all(MESSAGE, 1)
    await azure.send_user("anna", MESSAGE, 2)
    await azure.send_users(["anna"], MESSAGE, 3)
    await azure.send_group("g", MESSAGE, 4)
    await azure.send_groups(["g"], MESSAGE, 5)
    await azure.send_connection(client.id, MESSAGE, 6)
    await azure.send_connections([client.id], MESSAGE, 7)
    await client.has(*((n,) for n in range(1, 8)))
    assert await azure.invoke_connection(client.id, "Ask") == "answer"
    await azure.remove_from_group(client.id, "g")
    await azure.remove_from_all_groups(client.id)
    await azure.remove_user_from_group("anna", "h")
    await azure.remove_user_from_all_groups("anna")
    await azure.close_group("g")
    await azure.close_user("bert")
    await azure.close_all(excluded=[client.id])
    assert await azure.connection_exists(client.id)
    await azure.close_connection(client.id)


async def test_sending_reaches_those_it_names(azure: AzureSignalR, clients: Clients) -> None:
    anna, anna_too, bert = clients
    await azure.send_all(MESSAGE, "all")
    await azure.send_all(MESSAGE, "not bert", excluded=[bert.id])
    await azure.send_user("anna", MESSAGE, "anna")
    await azure.send_users(["anna", "bert", "anna"], MESSAGE, "both, once")
    await azure.send_connection(bert.id, MESSAGE, "bert")
    await azure.send_connections([anna_too.id, bert.id], MESSAGE, "two")
    await anna.has(("all",), ("not bert",), ("anna",), ("both, once",))
    await anna_too.has(("all",), ("not bert",), ("anna",), ("both, once",), ("two",))
    assert sorted(bert.got[-3:]) == [("bert",), ("both, once",), ("two",)]


async def test_groups(azure: AzureSignalR, clients: Clients) -> None:
    anna, anna_too, bert = clients
    await azure.add_to_group(bert.id, "g")
    await azure.add_user_to_group("anna", "g")
    await azure.send_group("g", MESSAGE, 1)
    await azure.send_group("g", MESSAGE, 2, excluded=[anna.id, bert.id])
    await anna.has((1,))
    await anna_too.has((1,), (2,))
    await bert.has((1,))
    await azure.remove_from_group(anna.id, "g")
    assert not [each async for each in azure.group_connections("g") if each.connection_id == anna.id]
    await azure.remove_user_from_group("anna", "g")
    assert not await azure.user_in_group("anna", "g")
    assert await azure.group_exists("g")
    await azure.remove_from_all_groups(bert.id)
    assert not await azure.group_exists("g")
    await azure.add_user_to_group("anna", "h")
    await azure.remove_user_from_all_groups("anna")
    assert not await azure.group_exists("h")


async def test_what_does_not_exist(azure: AzureSignalR, clients: Clients) -> None:
    assert not await azure.connection_exists("nobody")
    assert not await azure.user_exists("nobody")
    assert not await azure.group_exists("nothing")
    assert not await azure.user_in_group("anna", "nothing")
    await azure.close_connection("nobody")
    await azure.remove_from_group("nobody", "nothing")
    await azure.send_connection("nobody", MESSAGE)
    assert [each async for each in azure.group_connections("nothing")] == []
    for wrong in (azure.add_to_group("nobody", "g"), azure.invoke_connection("nobody", "Ask")):
        with pytest.raises(AzureSignalRError, match="status 404") as caught:
            await wrong
        assert (caught.value.status, caught.value.code) == (404, "Error.Connection.NotExisted")
        assert "does not exist" in caught.value.message


async def test_a_list_of_several_pages(azure: AzureSignalR, clients: Clients) -> None:
    for client in clients:
        await azure.add_to_group(client.id, "pages/of 3")
    for size in (1, 2, 3, 200):
        listed = [each async for each in azure.group_connections("pages/of 3", page_size=size)]
        assert {each.connection_id: each.user_id for each in listed} == {
            clients[0].id: "anna",
            clients[1].id: "anna",
            clients[2].id: "bert",
        }
        assert len(listed) == 3


async def test_closing(hub_server: HubServer, azure: AzureSignalR) -> None:
    async def closes(how: Any, reason: str | None = None) -> ConnectionClosedError:
        hub = azure.connect("anna", reconnect=False)
        await hub.start()
        await hub.invoke("Nothing")
        assert hub.connection_id is not None
        await azure.add_to_group(hub.connection_id, "g")
        await how(hub.connection_id)
        with pytest.raises(ConnectionClosedError) as caught:
            await hub.wait_closed()
        await hub_server.wait_event("disconnected", connection_id=hub.connection_id or None)
        assert caught.value.reason == reason
        return caught.value

    error = await closes(lambda each: azure.close_connection(each, reason="über & out"), "über & out")
    assert error.allow_reconnect
    await closes(lambda _: azure.close_user("anna", "u"), "u")
    await closes(lambda _: azure.close_group("g", "g"), "g")
    await closes(lambda _: azure.close_all("all"), "all")


async def test_a_client_that_is_closed_with_a_reason_comes_back(azure: AzureSignalR) -> None:
    async with known(azure.connect("anna")) as hub:
        back = asyncio.Event()
        hub.on_reconnected(lambda _: back.set())
        before = hub.connection_id
        assert before is not None
        await azure.close_connection(before, "maintenance")
        await back.wait()
        assert hub.connection_id != before
        assert await hub.invoke("User") == "anna"


# Asking clients


async def test_invoke_returns_what_handlers_return(azure: AzureSignalR, clients: Clients) -> None:
    for client in clients:
        client.hub.on("Echo", lambda value: value)
        for value in (None, False, 0, "text", [1, {"a": None}]):
            assert await azure.invoke_connection(client.id, "Echo", value) == value


async def test_invoke_raises_what_went_wrong(azure: AzureSignalR, clients: Clients) -> None:
    def fail() -> None:
        raise ValueError("not today")

    clients[0].hub.on("Fail", fail)
    for method, text in (("Fail", "not today"), ("Missing", "Client didn't provide a result")):
        with pytest.raises(AzureSignalRError, match=text) as caught:
            await azure.invoke_connection(clients[0].id, method)
        assert (caught.value.status, caught.value.code) == (400, "Error.Connection.InvocationFailed")


async def test_invoke_has_a_timeout(azure: AzureSignalR, clients: Clients) -> None:
    never = asyncio.Event()
    clients[0].hub.on("Never", never.wait)
    with pytest.raises(InvocationTimeoutError, match=r"'Never' did not end within 0\.2 s"):
        await azure.invoke_connection(clients[0].id, "Never", timeout=0.2)


# Refusals


async def test_a_wrong_key(hub_server: HubServer) -> None:
    async with azure_at(hub_server, key=WRONG) as azure:
        for wrong in (azure.send_all(MESSAGE), azure.user_exists("anna"), azure.close_all()):
            with pytest.raises(AzureSignalRError, match="check the AccessKey") as caught:
                await wrong
            assert caught.value.status == 401
            assert caught.value.code == "Error.Request.Unauthorized"
            assert_hides(caught.value, WRONG, "eyJ")
        with pytest.raises(NegotiationError) as refused:
            await azure.connect("anna", reconnect=False).start()
        assert refused.value.status == 401
        assert await azure.health(), "that takes no key"


@attrs.frozen
class _OneToken:
    token: str

    async def request_tokens(self, _url: str) -> list[str]:
        return [self.token]


async def refusal(server: HubServer, token: str, path: str = "hubs/chat/:send", version: str | None = None) -> Any:
    """Return the error that a request with this token ends with."""
    from signalr_sdk import Timeouts
    from signalr_sdk.azure.rest_client import RestClient

    base = server.url("/")
    client = AiohttpClient()
    rest = RestClient(
        client, base, tokens=_OneToken(token), timeouts=Timeouts(), api_version=version or "1", clock=Clock()
    )
    request = rest.request("POST", path, body=b'{"target":"m"}', content_type="application/json")
    if version == "":
        request = attrs.evolve(request, url=request.url.partition("?")[0])
    try:
        with pytest.raises(AzureSignalRError) as caught:
            await rest.ask(request)
    finally:
        await client.close()
    assert_hides(caught.value, token)
    return caught.value


async def test_wrong_tokens(hub_server: HubServer) -> None:
    right = hub_server.url("/api/hubs/chat/:send")
    for token in (
        signed(right, key=WRONG),
        signed(hub_server.url("/api/hubs/other/:send")),
        signed(right, lifetime=-1),
        "no token",
    ):
        error = await refusal(hub_server, token)
        assert (error.status, error.code) == (401, "Error.Request.Unauthorized")
        assert f"Expected audience: {right}" in str(error)
        assert error.url == right


async def test_a_missing_api_version_and_a_wrong_hub(hub_server: HubServer) -> None:
    error = await refusal(hub_server, signed(hub_server.url("/api/hubs/chat/:send")), version="")
    assert (error.status, error.code) == (400, "Error.Request.Invalid")
    assert "'api-version' is required" in error.message
    error = await refusal(hub_server, signed(hub_server.url("/api/hubs/4chat/:send")), "hubs/4chat/:send")
    assert error.status == 400
    assert "hub name is not valid" in error.message


async def test_a_hub_that_is_named_twice_is_refused(hub_server: HubServer, azure: AzureSignalR) -> None:
    answer = await azure.negotiate("anna")
    hub = HubConnection(answer["url"] + "&hub=other", access_token=answer["accessToken"], reconnect=False)
    with pytest.raises(NegotiationError, match="'hub' query parameter must be given once") as caught:
        await hub.start()
    assert caught.value.status == 400


async def test_a_token_of_another_hub_and_an_expired_one(hub_server: HubServer, azure: AzureSignalR) -> None:
    async with azure_at(hub_server, "other") as other:
        token = (await other.negotiate("anna"))["accessToken"]
    clock = Clock()
    clock.now -= 3601
    async with azure_at(hub_server, azure.hub, clock=clock) as late:
        expired = (await late.negotiate("anna"))["accessToken"]
    url = (await azure.negotiate("anna"))["url"]
    for wrong in (token, expired):
        with pytest.raises(NegotiationError) as caught:
            await HubConnection(url, access_token=wrong, reconnect=False).start()
        assert caught.value.status == 401
        assert_hides(caught.value, wrong)


# One hour


async def test_each_attempt_has_a_fresh_token(hub_server: HubServer, request: pytest.FixtureRequest) -> None:
    name = "T" + str(abs(hash(request.node.nodeid)))
    clock = Clock()
    clock.now -= 3590  # the token of the first attempt is near its end
    async with azure_at(hub_server, name, clock=clock) as azure, known(azure.connect("anna")) as hub:
        back = asyncio.Event()
        hub.on_reconnected(lambda _: back.set())
        clock.now += 3600
        async with azure_at(hub_server, name) as other:
            assert hub.connection_id is not None
            await other.close_connection(hub.connection_id, "scaling in")
        await back.wait()
        tokens = {
            event.detail.rpartition(" ")[2]
            for event in await hub_server.events("azure-request")
            if event.detail is not None and f"hub={name.lower()}" in event.detail and "Bearer" in event.detail
        }
        assert len(tokens) == 2
        lifetimes = sorted(jwt.decode(each, options={"verify_signature": False})["exp"] for each in tokens)
        assert lifetimes[1] - lifetimes[0] == 3600


# Names


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with space",
        "per%cent",
        "50%41",
        "%2F",
        "quote\"'<>\\",
        "!$&'()*+,;=:@-._~",
        "?query#fragment",
        "[]{}|^`",
        "grüße",
        "グループ",
        "🚀" * 20,
        "...",
        "tab\tand\x01control",
        "MixedCase",
        "x" * 1024,
    ],
    ids=lambda name: name.encode("unicode_escape").decode()[:12],
)
async def test_names_reach_the_right_group_and_user(azure: AzureSignalR, name: str) -> None:
    client = Client(azure.connect(name))
    other = Client(azure.connect("other"))
    async with client, other:
        assert await client.hub.invoke("User") == name
        await azure.add_to_group(client.id, name)
        await azure.send_group(name, MESSAGE, "group")
        await azure.send_user(name, MESSAGE, "user")
        await azure.send_users([name], MESSAGE, "users")
        await client.has(("group",), ("user",), ("users",))
        await other.has()
        assert await azure.user_exists(name)
        assert await azure.user_in_group(name, name)
        assert await azure.group_exists(name)
        assert [each async for each in azure.group_connections(name)] == [GroupConnection(client.id, name)]


async def test_a_group_for_each_character(azure: AzureSignalR) -> None:
    # But for the one that no HTTP server takes.
    names = [f"g{chr(code)}g" for code in range(1, 0x80)]
    async with Client(azure.connect("anna")) as client:
        for name in names:
            await azure.add_to_group(client.id, name)
        for name in names:
            await azure.send_group(name, MESSAGE, name)
        await client.has(*((name,) for name in names))


async def test_a_group_with_a_slash(azure: AzureSignalR, clients: Clients) -> None:
    # ASP.NET Core leaves %2F in route values as it is, so the imitated service has such groups, but finds no such user.
    anna, anna_too, bert = clients
    await azure.add_to_group(anna.id, "a/b")
    await azure.add_to_group(bert.id, "a")
    await azure.send_group("a/b", MESSAGE, 1)
    await anna.has((1,))
    await anna_too.has()
    await bert.has()


@pytest.mark.parametrize("hub", ["UPPER", "a.b_c,d[e]`f", "x" * 128])
async def test_hub_names(hub_server: HubServer, hub: str) -> None:
    async with azure_at(hub_server, hub) as azure:
        client = Client(azure.connect("anna"))
        async with client:
            assert await client.hub.invoke("Query", "hub") == hub.lower()
            await azure.send_all(MESSAGE, hub)
            await client.has((hub,))


async def test_applications_do_not_hear_each_other(hub_server: HubServer) -> None:
    async with azure_at(hub_server, "Chat", application="Shop") as shop, azure_at(hub_server, "chat") as plain:
        client, other = Client(shop.connect("anna")), Client(plain.connect("anna"))
        async with client, other:
            assert await client.hub.invoke("Query", "hub") == "shop_chat"
            await shop.send_user("anna", MESSAGE, 1)
            await client.has((1,))
            await other.has()


# Values


async def test_values_of_both_protocols(azure: AzureSignalR, clients: Clients) -> None:
    # The imitated service takes JSON only, so bytes are text even for MessagePack clients: what goes out otherwise is
    # tested in tests/azure.
    values: tuple[Any, ...] = (None, True, -1, 2**53, 0.25, "ü", [], {"a": [{}]})
    await azure.send_all(MESSAGE, *values)
    for client in clients:
        await client.has(values)
    await azure.send_all(MESSAGE, b"\x00\xff")
    for client in clients:
        await client.has(("AP8=",))


async def test_nothing_secret_is_shown(hub_server: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with azure_at(hub_server) as azure:
        await azure.send_all(MESSAGE, "payload")
        answer = await azure.negotiate("anna")
        assert PRIMARY not in repr(azure) + connection_string(hub_server, "x")
        async with azure.connect("anna"):
            pass
    shown = caplog.text
    assert "api/hubs/chat/:send" in shown
    for secret in (PRIMARY, "eyJ", answer["accessToken"], "api-version"):
        assert secret not in shown
