"""The server that the other interop tests stand on."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from . import hub_server as module
from .hub_server import HubServer, ServerFailedError, ServerMissingError, find_program

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from .conftest import Certificates, Combination, StartServer


async def test_it_says_what_it_saw(start_server: StartServer) -> None:
    server = start_server()
    assert await server.events() == []
    assert await server.connections() == []
    assert not await server.abort("nobody")
    assert await server.drop_transports("/hub") == 0
    await server.send("Event", 1, "two", user="nobody")
    await server.clear_events()


async def test_an_event_that_does_not_come_is_a_failure_with_those_that_did(hub_server: HubServer) -> None:
    with pytest.raises(AssertionError, match=r"no 'flood' in 0\.1 s"):
        await hub_server.wait_event("flood", timeout=0.1)


async def test_tokens_and_cookies(hub_server: HubServer) -> None:
    assert (await hub_server.token("anna", seconds=60)).count(".") >= 1
    cookies = await hub_server.login("anna")
    assert list(cookies) == [".AspNetCore.Cookies"]


async def test_shutdown_ends_the_process(start_server: StartServer) -> None:
    server = start_server()
    await server.shutdown()
    with pytest.raises(urllib.error.URLError):
        await server.events()


def negotiate(url: str, context: ssl.SSLContext | None = None) -> int:
    request = urllib.request.Request(url + "/negotiate?negotiateVersion=1", b"")
    with urllib.request.urlopen(request, context=context, timeout=5) as answer:
        status: int = answer.status
    return status


def test_https_with_an_authority_of_our_own(https_server: HubServer, certificates: Certificates) -> None:
    url = https_server.url("/hub", https=True)
    assert negotiate(url, certificates.client_context()) == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        negotiate(url)


def test_https_with_client_certificates(client_certificate_server: HubServer, certificates: Certificates) -> None:
    url = client_certificate_server.url("/hub", https=True)
    assert negotiate(url, certificates.client_context(certificate=True)) == 200
    with pytest.raises(OSError, match=r"(?i)certificate|reset|closed|eof"):
        negotiate(url, certificates.client_context())


def test_the_combinations_are_five(combination: Combination) -> None:
    assert combination.protocol == "json" or combination.transport != "ServerSentEvents"


def test_a_named_program_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ServerFailedError, match="which is not a file"):
        find_program()


def test_without_a_program_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "SOURCE", tmp_path / "server")
    with pytest.raises(ServerMissingError, match=r"install the \.NET SDK"):
        find_program()


def test_a_program_that_ends_at_once_is_an_error_with_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "hub-server"
    program.write_text("#!/bin/sh\necho 'no libssl' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv(module.VARIABLE, str(program))
    with pytest.raises(ServerFailedError, match="no libssl"):
        HubServer.start()
