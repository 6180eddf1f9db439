"""TLS (`rediss://`), and users of Redis with the rights that docs/how-to/many-machines.md names."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trustme

from signalr_sdk import HubConnection, Retry, StoreError
from signalr_sdk.delivery import ID, Feed, Outbox, OutboxLimits
from signalr_sdk.fleet import Lease, RedisStore, Relay
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from signalr_sdk.delivery import Position

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "many-machines.md"
SCRIPTS = ROOT / "sdk" / "signalr_sdk" / "fleet" / "scripts"

# A test that fails on a busy machine shows nothing.
pytestmark = pytest.mark.timeout(60)


@attrs.frozen
class Secure:
    """A redis-server with a port for TLS.

    Attributes:
        port: the port.
        authority: the file with the certificate of the authority, which no machine trusts.
        client: a client for threads, which may do anything.
    """

    port: int
    authority: Path
    client: Any

    def url(self, user: str) -> str:
        return f"rediss://{user}:PASSWORD@localhost:{self.port}?ssl_ca_certs={self.authority}"


@pytest.fixture
def secure(folder: Path, redis_program: str) -> Iterator[Secure]:
    """A redis-server with a port for TLS, and without another one."""
    # redis-py belongs to an extra.
    from tests.fleet.redis_process import RedisProcess, free_port

    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(folder / "server.pem"), "--tls-key-file", str(folder / "server.pem")]
    server = RedisProcess(folder, *options).start()
    with server.client() as client:
        for user in ("relay", "outbox"):
            client.execute_command(*documented(user))
        yield Secure(port, folder / "ca.pem", client)
    server.kill()


def documented(user: str) -> list[str]:
    """Return the words of the command that makes a user, as the page has it."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [each for each in page if each.startswith(f"ACL SETUSER {user} ")]
    return line.split()


class Ledger(LedgerHub):
    """A hub of its own."""


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HubConnection]:
    """A connection to the hub, which is not started."""
    monkeypatch.setattr(Ledger, "state", type(Ledger.state)())
    async with HubServer({"/ledger": Ledger}) as server:
        yield HubConnection(server.url("/ledger"), retry_start=True, reconnect=Retry.forever())


async def test_a_lease_over_tls(secure: Secure) -> None:
    first, second = (Lease(secure.url("relay"), "trades", ttl=6) for _ in range(2))
    async with first as token:
        assert secure.client.get("{trades}:lease").startswith(f"{token}:")
        waiting = asyncio.create_task(second.__aenter__())
        await asyncio.sleep(2.5)  # the lease is renewed meanwhile
        assert first.token == token
    assert await waiting > token
    await second.__aexit__(None, None, None)
    assert secure.client.get("{trades}:lease") is None


async def test_a_relay_over_tls(secure: Secure, hub: HubConnection) -> None:
    def since(at: Position) -> Any:
        return hub.stream("Since", at.epoch, at.number)

    feed: Feed[Any] = Feed(hub, "item", number=lambda item: item["n"], start=0, catch_up=since)
    for _ in range(3):
        Ledger.state.next_item()
    relaying = asyncio.create_task(Relay(hub, secure.url("relay"), "trades", ["News"], feeds=[feed], ttl=6).run())
    while secure.client.hget("{trades}:relay", "number:item") != "3":  # noqa: ASYNC110 - what Redis has is polled
        await asyncio.sleep(0.02)
    relaying.cancel()
    assert await asyncio.wait({relaying}) == ({relaying}, set())
    kinds = [fields["kind"] for _id, fields in secure.client.xrange("trades")]
    assert kinds == ["takeover", "event", "event", "event"]
    assert secure.client.get("{trades}:lease") is None


async def test_an_outbox_over_tls(secure: Secure, hub: HubConnection) -> None:
    class Never:
        def next_delay(self, _context: object) -> None:
            return None

    Ledger.state.rule("bad", "fail", -1)
    store = RedisStore(secure.url("outbox"), "meters", ttl=6)
    async with Outbox(store, hub, retry=Never(), limits=OutboxLimits(entries=8), overflow="drop_oldest") as outbox:
        for n in range(9):
            await outbox.put("Store", ID, "k", n, key="k", id=f"own-{n}")
        await outbox.put("Store", ID, "bad", 0, key="bad")
        await outbox.put("Store", ID, "old", 0, expires=0)
        async with hub:
            await outbox.drain(40)
            await outbox.put("Store", ID, "k", 8, key="k", id="own-8")
            assert await outbox.retry() == 1
            await outbox.drain(40)
        assert [entry.key for entry in await outbox.entries(dead=True)] == ["bad"]
        assert await outbox.drop(all_dead=True) == 1
        first = await outbox.put("Store", ID, "k", 9, key="k")
        assert [entry.id for entry in (await store.read(0, 9, key="k", until=99)).entries] == [first]
        assert await outbox.drop(first) == 1
        stats = await outbox.stats()
    assert (stats.delivered, stats.died, stats.expired, stats.dropped, stats.bytes) == (6, 2, 1, 5, 0)
    assert [row.n for row in Ledger.state.rows] == list(range(3, 9))


async def test_a_certificate_that_nobody_knows_is_refused(secure: Secure) -> None:
    store = RedisStore(f"rediss://outbox:PASSWORD@localhost:{secure.port}", "meters")
    with pytest.raises(StoreError, match="connecting to localhost") as caught:
        await store.open()
    assert "PASSWORD" not in str(caught.value)
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    assert cause is not None


@pytest.mark.parametrize(
    ("user", "name", "text"),
    [
        ("relay", "meters", "(?i)no permission"),
        ("outbox", "trades", "(?i)no permission"),
        ("nobody", "meters", "WRONGPASS|user"),
    ],
)
async def test_a_user_without_the_rights_is_refused(secure: Secure, user: str, name: str, text: str) -> None:
    with pytest.raises(StoreError, match=text) as caught:
        async with Outbox(RedisStore(secure.url(user), name)) as outbox:
            await outbox.put("A")
    assert "PASSWORD" not in str(caught.value)


@pytest.mark.parametrize(("user", "scripts", "more"), [("relay", "relay", set()), ("outbox", "store", {"+info"})])
def test_the_page_names_the_rights_that_the_scripts_need_and_no_others(user: str, scripts: str, more: set[str]) -> None:
    lease, others = ({f"+{word.lower()}" for word in commands(name)} for name in ("lease", scripts))
    rights = [word for word in documented(user) if word.startswith("+")]
    assert sorted(rights) == sorted(lease | others | more | {"+eval", "+evalsha"})
    assert set(rights[: rights.index("+pttl") + 1]) == lease | {"+eval", "+evalsha"}


def commands(scripts: str) -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in SCRIPTS.glob(f"{scripts}_*.lua")]
    return {word for text in texts for word in re.findall(r"redis\.call\('(\w+)'", text)}
