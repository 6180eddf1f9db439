"""`AzureSignalR` for threads against the imitated service: every operation, without `await`."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
from tests.servers import assert_hides
from tests.sync.conftest import Background, until

from signalr_sdk import ConnectionClosedError, InvocationTimeoutError
from signalr_sdk.azure import AzureSignalRError, GroupConnection
from signalr_sdk.sync import AzureSignalR

from .azure import SECONDARY, WRONG, connection_string
from .test_azure_entra import ENTRA, Token, gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalr_sdk.sync import HubConnection

    from .conftest import Combination
    from .hub_server import HubServer

EVENT = "ReceiveMessage"


def azure_at(server: HubServer, hub: str, **options: Any) -> AzureSignalR:
    return AzureSignalR(connection_string(server), hub, **options)


class Client:
    """A client, and the events that it got."""

    def __init__(self, hub: HubConnection) -> None:
        self.hub = hub
        self.got: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        hub.on(EVENT, lambda *args: self.got.put(args))
        hub.on("Echo", lambda value: value)
        hub.start()
        # The service knows a client once it answers a call.
        hub.invoke("Nothing")

    @property
    def id(self) -> str:
        assert self.hub.connection_id is not None
        return self.hub.connection_id

    def gets(self, *events: Any) -> None:
        assert [self.got.get(timeout=5)[0] for _ in events] == list(events)


def test_every_operation(hub_server: HubServer, combination: Combination) -> None:
    with azure_at(hub_server, f"s{combination}".replace("-", "").upper()) as azure:
        assert azure.hub == f"s{combination}".replace("-", "").lower()
        assert azure.health()
        client = Client(azure.connect("anna", **combination.options))
        other = Client(azure.connect("bert"))
        assert (azure.user_exists("anna"), azure.user_exists("carl")) == (True, False)
        assert (azure.connection_exists(client.id), azure.connection_exists("nobody")) == (True, False)
        azure.add_to_group(client.id, "g")
        azure.add_user_to_group("anna", "h", ttl=60)
        assert (azure.group_exists("g"), azure.group_exists("none")) == (True, False)
        assert (azure.user_in_group("anna", "h"), azure.user_in_group("bert", "h")) == (True, False)
        azure.send_all(EVENT, "all")
        azure.send_all(EVENT, "not bert", excluded=[other.id])
        azure.send_user("anna", EVENT, "user")
        azure.send_users(["anna"], EVENT, "users")
        azure.send_group("g", EVENT, "group", excluded=[other.id])
        azure.send_groups(["g"], EVENT, "groups")
        azure.send_connection(client.id, EVENT, "connection")
        azure.send_connections([client.id], EVENT, "connections")
        client.gets("all", "not bert", "user", "users", "group", "groups", "connection", "connections")
        other.gets("all")
        assert azure.invoke_connection(client.id, "Echo", {"a": [1]}) == {"a": [1]}
        azure.remove_from_group(client.id, "g")
        azure.remove_user_from_group("anna", "h")
        assert not azure.group_exists("g")
        azure.add_to_group(client.id, "g")
        azure.remove_from_all_groups(client.id)
        azure.add_user_to_group("anna", "h")
        azure.remove_user_from_all_groups("anna")
        assert (azure.group_exists("g"), azure.group_exists("h")) == (False, False)
        azure.close_group("nothing")
        azure.close_user("carl")
        azure.close_all(excluded=[client.id, other.id])
        assert other.hub.invoke("User") == "bert"
        before = client.id
        azure.close_connection(before, "maintenance")
        until(lambda: not azure.connection_exists(before))
        client.hub.stop()
        other.hub.stop()


def test_a_list_of_several_pages_is_a_plain_iterator(hub_server: HubServer) -> None:
    with azure_at(hub_server, "syncpages") as azure:
        clients = [Client(azure.connect(user)) for user in ("anna", "bert", "carl")]
        for client in clients:
            azure.add_to_group(client.id, "g")
        listed = list(azure.group_connections("g", page_size=1))
        assert sorted(listed, key=lambda each: each.user_id or "") == [
            GroupConnection(client.id, user) for client, user in zip(clients, ("anna", "bert", "carl"), strict=True)
        ]
        # Who leaves early leaves nothing behind.
        for _member in azure.group_connections("g", page_size=1):
            break
        assert list(azure.group_connections("nothing")) == []
        with pytest.raises(ValueError, match="page_size must be from 1 to 200"):
            azure.group_connections("g", page_size=0)
        for client in clients:
            client.hub.stop()


def test_a_client_comes_back_with_a_fresh_token_also_when_the_sender_is_closed(hub_server: HubServer) -> None:
    with azure_at(hub_server, "syncback") as azure:
        client = Client(azure.connect("anna"))
        back = threading.Event()
        client.hub.on_reconnected(lambda _: back.set())
        before = client.id
        azure.close_connection(before, "scaling in")
        assert back.wait(8)
        assert client.id != before
    back.clear()
    client.hub.invoke("Nothing")
    with azure_at(hub_server, "syncback") as azure:
        azure.close_all("again")
    assert back.wait(8)
    assert client.hub.invoke("User") == "anna"
    client.hub.stop()


def test_errors_are_those_of_asyncio(hub_server: HubServer) -> None:
    with azure_at(hub_server, "syncerrors") as azure:
        client = Client(azure.connect("anna", reconnect=False))
        asked = threading.Event()
        client.hub.on("Never", lambda: asked.wait(8))
        with pytest.raises(AzureSignalRError, match="status 404") as missing:
            azure.add_to_group("nobody", "g")
        assert missing.value.code == "Error.Connection.NotExisted"
        with pytest.raises(InvocationTimeoutError, match=r"'Never' did not end within 0\.2 s"):
            azure.invoke_connection(client.id, "Never", timeout=0.2)
        asked.set()
        with pytest.raises(ValueError, match=r"cannot be '\.\.'"):
            azure.send_user("..", EVENT)
        with pytest.raises(TypeError, match="multiple values"):
            azure.connect(url="http://elsewhere.test")  # type: ignore[call-arg]  # as said
        with pytest.raises(ValueError, match="user_id is empty"):
            azure.connect("")
        azure.close_user("anna", "bye")
        with pytest.raises(ConnectionClosedError, match="bye"):
            client.hub.wait_closed()
    for wrong in (lambda: azure.send_all(EVENT), azure.health, lambda: list(azure.group_connections("g"))):
        with pytest.raises(AzureSignalRError, match="this AzureSignalR is closed"):
            wrong()
    azure.close()


def test_a_partial_failure_says_who_was_not_reached(hub_server: HubServer) -> None:
    with (
        AzureSignalR(connection_string(hub_server, WRONG), "chat") as azure,
        pytest.raises(ExceptionGroup, match="2 of 2 users were not reached: 'anna', 'bert'") as caught,
    ):
        azure.send_users(["anna", "bert"], EVENT)
    assert_hides(caught.value, WRONG)
    assert WRONG not in repr(azure)
    assert repr(azure).startswith("<signalr_sdk.sync.AzureSignalR hub 'chat' at http://127.0.0.1")


def test_many_threads_send_at_once(hub_server: HubServer) -> None:
    with azure_at(hub_server, "syncthreads") as azure:
        client = Client(azure.connect("anna"))
        threads = [threading.Thread(target=azure.send_user, args=("anna", EVENT, number)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(client.got.get(timeout=5)[0] for _ in threads) == list(range(20))
        client.hub.stop()


def test_the_users_http_client_is_made_on_the_loop_and_closed(hub_server: HubServer) -> None:
    made: list[aiohttp.ClientSession] = []

    def make() -> aiohttp.ClientSession:
        made.append(aiohttp.ClientSession())
        return made[-1]

    with azure_at(hub_server, "synchttp", http=make) as azure:
        assert made == []
        assert not azure.user_exists("anna")
        client = Client(azure.connect("anna"))
        assert azure.user_exists("anna")
        assert len(made) == 2
        client.hub.stop()
    assert [session.closed for session in made] == [True, True]
    with pytest.raises(TypeError, match=r"http of signalr_sdk\.sync is a callable"):
        azure_at(hub_server, "synchttp", http=object())


class Credential:
    """As one of azure.identity."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def get_token(self, *scopes: str) -> Token:
        assert scopes == ("https://signalr.azure.com/.default",)
        self.threads.append(threading.current_thread().name)
        return Token(ENTRA, 2**40)


@pytest.fixture
def entra(hub_server: HubServer) -> Iterator[dict[str, Any]]:
    """What stands for the service with Entra ID, on a loop of its own."""
    background = Background()
    try:
        url = background.enter(gateway(hub_server))
        yield {
            "connection_string": f"Endpoint={hub_server.url('')};ServerEndpoint={url};AuthType=azure;Version=1.0;",
            "hub": "syncentra",
        }
    finally:
        background.close()


def test_a_plain_credential_is_asked_on_a_thread(entra: dict[str, Any]) -> None:
    credential = Credential()
    with AzureSignalR(**entra, credential=credential) as azure:
        plain, claiming = Client(azure.connect("anna")), Client(azure.connect("bert", {"role": "admin"}))
        azure.send_user("bert", EVENT, 1)
        claiming.gets(1)
        assert plain.hub.invoke("User") == "anna"
        plain.hub.stop()
        claiming.hub.stop()
    assert credential.threads == ["signalr_sdk credential"]


def test_an_async_credential_is_refused(entra: dict[str, Any]) -> None:
    class Wrong:
        async def get_token(self, *scopes: str) -> Token:
            return Token(ENTRA, 2**40)

    with pytest.raises(TypeError, match=r"get_token of a credential of signalr_sdk\.sync is a plain function"):
        AzureSignalR(**entra, credential=Wrong())
    with pytest.raises(TypeError, match="credential must be an object with get_token"):
        AzureSignalR(**entra, credential=object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="credential= is needed"):
        AzureSignalR(**entra)


def test_what_it_is_given_counts(hub_server: HubServer) -> None:
    options: dict[str, Any] = {"application": "Shop", "api_version": "2022-06-01", "clock": lambda: 4e9}
    with azure_at(hub_server, "Given", **options) as azure:
        assert azure.hub == "shop_given"
        token = azure.negotiate(lifetime=60)["accessToken"]
        assert jwt.decode(token, options={"verify_signature": False})["exp"] == 4_000_000_060
        assert not azure.user_exists("anna")
    asked = [event.detail or "" for event in asyncio.run(hub_server.events("azure-request"))]
    assert "HEAD /api/hubs/shop_given/users/anna?api-version=2022-06-01" in asked


def test_both_keys(hub_server: HubServer) -> None:
    with AzureSignalR(connection_string(hub_server, SECONDARY), "synckeys") as azure:
        answer = azure.negotiate("anna", {"role": "admin"}, 60, close_on_expiration=True)
        assert answer["url"] == hub_server.url("/client/?hub=synckeys")
        assert not azure.user_exists("anna")
        client = Client(azure.connect("anna"))
        assert azure.user_exists("anna")
        client.hub.stop()


def test_it_may_be_called_from_a_thread_of_an_event_loop(hub_server: HubServer) -> None:
    async def main() -> bool:
        with azure_at(hub_server, "syncinside") as azure:
            return azure.health()

    assert asyncio.run(main())
