"""`signalr azure` against the imitated service."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import signalr

from signalr_sdk import HubConnection

from .azure import PRIMARY, WRONG, azure_at, connection_string, known

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Signalr

    from .hub_server import HubServer

__all__ = ["signalr"]


@pytest.fixture(autouse=True)
def _environment(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", connection_string(hub_server))


def beside_a_client(
    server: HubServer, hub: str, commands: Callable[[str], list[Done]]
) -> tuple[list[Done], list[object]]:
    """Run commands while anna is connected and in the group g; return what they did, and the events that she got."""
    got: list[object] = []

    async def run() -> list[Done]:
        async with azure_at(server, hub) as azure, known(azure.connect("anna", reconnect=False)) as client:
            client.on("Event", lambda *args: got.append(args))
            assert client.connection_id is not None
            await azure.add_to_group(client.connection_id, "g")
            done = await asyncio.to_thread(commands, client.connection_id)
            await client.invoke("Nothing")
            return done

    return asyncio.run(run()), got


def test_negotiate_prints_what_a_client_needs(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("azure", "negotiate", "Cli", "--user", "anna", "--claim", "role=ad=min", "--lifetime", "60")
    answer = json.loads(done.out)
    assert answer.keys() == {"url", "accessToken"}

    async def user() -> object:
        async with HubConnection(answer["url"], access_token=answer["accessToken"]) as hub:
            return await hub.invoke("User")

    assert asyncio.run(user()) == "anna"


def test_send_reaches_whom_it_names(hub_server: HubServer, signalr: Signalr) -> None:
    def commands(connection_id: str) -> list[Done]:
        return [
            signalr("azure", "send", "clisend", "Event", *rest)
            for rest in (
                ("1", "-2", '{"a":null}', "text"),
                ("user", "--user", "anna", "--user", "bert"),
                ("nobody", "--user", "bert"),
                ("group", "--group", "g"),
                ("groups", "--group", "g", "--group", "h"),
                ("connection", "--connection", connection_id),
                ("excluded", "--exclude", connection_id),
                ("excluded", "--group", "g", "--exclude", connection_id),
            )
        ]

    done, got = beside_a_client(hub_server, "clisend", commands)
    assert [(each.status, each.out, each.err) for each in done] == [(0, "", "")] * 8
    assert got == [(1, -2, {"a": None}, "text"), ("user",), ("group",), ("groups",), ("connection",)]


def test_exists_and_close(hub_server: HubServer, signalr: Signalr) -> None:
    def commands(connection_id: str) -> list[Done]:
        return [
            signalr("azure", "exists", "cliexists", *rest)
            for rest in (
                ("--user", "anna"),
                ("--user", "bert"),
                ("--group", "g"),
                ("--user", "anna", "--group", "g"),
                ("--connection", connection_id),
                ("--connection", "nobody"),
            )
        ]

    done, _got = beside_a_client(hub_server, "cliexists", commands)
    assert [(each.status, each.out) for each in done] == [
        (0, "yes\n"),
        (1, "no\n"),
        (0, "yes\n"),
        (0, "yes\n"),
        (0, "yes\n"),
        (1, "no\n"),
    ]


@pytest.mark.parametrize("target", [("--all",), ("--user", "anna"), ("--group", "g"), ("--connection", "{id}")])
def test_close(hub_server: HubServer, signalr: Signalr, target: tuple[str, ...]) -> None:
    async def run() -> str | None:
        async with azure_at(hub_server, "cliclose") as azure, known(azure.connect("anna", reconnect=False)) as client:
            closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
            client.on_closed(closed.set_result)
            assert client.connection_id is not None
            await azure.add_to_group(client.connection_id, "g")
            arguments = [each.replace("{id}", client.connection_id) for each in target]
            done = await asyncio.to_thread(signalr, "azure", "close", "cliclose", *arguments, "--reason", "bye")
            assert (done.status, done.out, done.err) == (0, "", "")
            return getattr(await closed, "reason", None)

    assert asyncio.run(run()) == "bye"


def test_health(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    done = signalr("azure", "health")
    assert (done.status, done.out, done.err) == (0, "yes\n", "")
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", f"Endpoint=http://127.0.0.1;Port=1;AccessKey={PRIMARY}")
    done = signalr("azure", "health", "--timeout", "0.3")
    assert (done.status, done.out) == (3, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("exists", "cli"), "name a --user, a --group, both, or a --connection"),
        (("exists", "cli", "--user", "a", "--connection", "b"), "name a --user"),
        (("close", "cli"), "name one of --user, --group, --connection and --all"),
        (("close", "cli", "--all", "--user", "a"), "name one of"),
        (("send", "cli", "Event", "--user", "a", "--group", "b"), "exclude each other"),
        (("send", "cli", "Event", "--user", "a", "--exclude", "b"), "--exclude goes with all clients"),
        (("send", "cli", "Event", "--usr", "a"), "there is no option --usr"),
        (("send", "4cli", "Event"), "the hub name '4cli' is not allowed"),
        (("negotiate", "cli", "--claim", "role"), "--claim wants NAME=VALUE, not 'role'"),
        (("negotiate", "cli", "--lifetime", "0"), "--lifetime: '0' is no duration"),
    ],
)
def test_wrong_usage(signalr: Signalr, arguments: tuple[str, ...], said: str) -> None:
    done = signalr("azure", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "set AZURE_SIGNALR_CONNECTION_STRING"),
        ("Endpoint=https://x.test;Version=1.0", "no AccessKey"),
        (
            "Endpoint=https://x.test;AuthType=azure",
            "this command signs with nothing else: for Entra ID write a program",
        ),
    ],
)
def test_a_connection_string_is_needed(
    signalr: Signalr, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", value)
    done = signalr("azure", "send", "cli", "Event")
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_a_refusal_is_status_3(hub_server: HubServer, signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", connection_string(hub_server, WRONG))
    done = signalr("azure", "send", "cli", "Event", "-vv")
    assert (done.status, done.out) == (3, "")
    assert "check the AccessKey" in done.err
    assert WRONG not in done.err
    several = signalr("azure", "send", "cli", "Event", "--user", "a", "--user", "b")
    assert several.status == 3
    assert several.err.startswith("signalr: 2 of 2 users were not reached: 'a', 'b'\n")
    assert several.err.count("status 401") == 2
