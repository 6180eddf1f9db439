"""The parts of the lab without namespaces: packets, the link between two sockets, the table."""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from . import __main__ as lab
from .link import Link, Way
from .packets import DESTINATION, SOURCE, Segment, is_segment, with_wrong_bit
from .table import Row, table

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT, SERVER, LOOPBACK = ("10.77.0.1", 40_000), ("10.77.1.1", 5000), ("127.0.0.1", 5000)
SYN, ACK = 0x02, 0x10


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071: 0 for data that has its right checksum in it."""
    data += bytes(len(data) % 2)
    # The sum with the carries added again is the remainder modulo 0xFFFF.
    return -int.from_bytes(data) % 0xFFFF


def is_sound(packet: bytes) -> bool:
    """Return whether both checksums of a packet are right."""
    pseudo = packet[12:20] + struct.pack("!HH", 6, len(packet) - 20)
    return checksum(packet[:20]) == 0 and checksum(pseudo + packet[20:]) == 0


def packet(source: tuple[str, int], destination: tuple[str, int], flags: int = ACK, data: bytes = b"") -> bytes:
    """Return a packet with right checksums."""
    ends = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    header = struct.pack("!BBHHHBBH8s", 0x45, 0, 40 + len(data), 7, 0, 64, 6, 0, ends)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    segment = struct.pack("!HHIIBBHHH", source[1], destination[1], 1, 2, 0x50, flags, 1000, 0, 0) + data
    right = checksum(ends + struct.pack("!HH", 6, len(segment)) + segment)
    return header + segment[:16] + struct.pack("!H", right) + segment[18:]


# Packets


@pytest.mark.parametrize("data", [b"", b"odd", bytes(range(256)), b"\xff" * 1000], ids=len)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "255.255.255.255", "10.77.1.2"])
def test_another_address_leaves_both_checksums_right(address: str, data: bytes) -> None:
    before = packet(CLIENT, SERVER, data=data)
    assert is_sound(before)
    for at in (SOURCE, DESTINATION):
        after = Segment(before).readdressed(at, socket.inet_aton(address))
        assert is_sound(after)
        assert after[at : at + 4] == socket.inet_aton(address)


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.999999])
def test_a_wrong_bit_is_one_bit_of_the_segment(chance: float) -> None:
    before = packet(CLIENT, SERVER, data=b"some data")
    after = with_wrong_bit(before, chance)
    differences = int.from_bytes(before) ^ int.from_bytes(after)
    assert differences.bit_count() == 1
    assert before[:20] == after[:20]
    assert not is_sound(after)


def test_only_ipv4_with_tcp_is_a_segment() -> None:
    whole = packet(CLIENT, SERVER)
    assert is_segment(whole)
    assert not any(is_segment(whole[:length]) for length in range(len(whole)))
    assert not is_segment(b"\x60" + whole[1:])
    assert not is_segment(whole[:9] + b"\x11" + whole[10:])


def test_a_segment_opens_a_connection_if_it_is_a_syn_without_an_ack() -> None:
    assert [Segment(packet(CLIENT, SERVER, flags)).opens for flags in (SYN, SYN | ACK, ACK)] == [True, False, False]


# The link


def test_a_seed_decides_the_fate_of_packets() -> None:
    way = Way(loss=0.3, late=0.3, doubled=0.3, jitter=1.0)

    def fates(seed: int) -> list[object]:
        chance = random.Random(seed)
        return [None if way.loses(b"", chance) else way.delays(chance) for _ in range(100)]

    assert fates(1) == fates(1) != fates(2)


class Sockets:
    """A link between two sockets in place of the TUN devices."""

    def __init__(self) -> None:
        self.client, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.server, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.all = (self.client, client, self.server, server)
        for each in (client, server):
            each.setblocking(False)
        self.link = Link(client.fileno(), server.fileno(), usual=0.0, seed=1)
        self.link.address = SERVER[0]

    def up(self, *packets: bytes) -> bytes:
        """Send packets of the client; return the next packet that the server gets."""
        for each in packets:
            self.client.send(each)
        return self.server.recv(65_536)

    def down(self, *packets: bytes) -> bytes:
        """Send packets of the server; return the next packet that the client gets."""
        for each in packets:
            self.server.send(each)
        return self.client.recv(65_536)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    if sys.platform != "linux":
        pytest.skip("the lab needs Linux")
    made = Sockets()
    with made.link:
        yield made
    for each in made.all:
        each.close()


def test_the_server_is_reached_at_its_address_and_answers_from_there(sockets: Sockets) -> None:
    assert sockets.up(packet(CLIENT, SERVER, SYN)) == packet(CLIENT, LOOPBACK, SYN)
    assert sockets.up(packet(CLIENT, SERVER, data=b"1")) == packet(CLIENT, LOOPBACK, data=b"1")
    assert sockets.down(packet(LOOPBACK, CLIENT, data=b"2")) == packet(SERVER, CLIENT, data=b"2")


def test_without_an_entry_in_the_table_packets_are_lost(sockets: Sockets) -> None:
    early, first, other = packet(CLIENT, SERVER), packet(CLIENT, SERVER, SYN), packet(("10.77.0.2", 1), SERVER, SYN)
    assert sockets.up(early, first) == packet(CLIENT, LOOPBACK, SYN)
    sockets.link.forget()
    assert sockets.up(early, other) == packet(("10.77.0.2", 1), LOOPBACK, SYN)
    assert sockets.down(packet(LOOPBACK, CLIENT), packet(LOOPBACK, ("10.77.0.2", 1))) == packet(
        SERVER, ("10.77.0.2", 1)
    )


def test_after_the_server_has_moved_nobody_connects_to_its_old_address(sockets: Sockets) -> None:
    sockets.link.address = "10.77.1.2"
    old, new = packet(CLIENT, SERVER, SYN), packet(CLIENT, ("10.77.1.2", 5000), SYN)
    assert sockets.up(old, new) == packet(CLIENT, LOOPBACK, SYN)
    assert sockets.down(packet(LOOPBACK, CLIENT)) == packet(("10.77.1.2", 5000), CLIENT)


def test_holes_of_each_way_and_for_large_packets(sockets: Sockets) -> None:
    first, small, large = (
        packet(CLIENT, SERVER, flags, data) for flags, data in ((SYN, b""), (ACK, b"."), (ACK, b"." * 999))
    )
    assert is_sound(sockets.up(first))
    sockets.link.both(Way(largest=600))
    assert sockets.up(large, small) == packet(CLIENT, LOOPBACK, data=b".")
    assert sockets.link.lost == 1
    sockets.link.restore()
    sockets.link.down = Way(is_dead=True)
    sockets.server.send(packet(LOOPBACK, CLIENT, data=b"lost"))
    assert sockets.up(large) == packet(CLIENT, LOOPBACK, data=b"." * 999)
    sockets.link.restore()
    assert sockets.down(packet(LOOPBACK, CLIENT, data=b"comes")) == packet(SERVER, CLIENT, data=b"comes")


def test_a_wrong_bit_and_a_double(sockets: Sockets) -> None:
    assert is_sound(sockets.up(packet(CLIENT, SERVER, SYN)))
    sockets.link.both(Way(corrupted=1.0, doubled=1.0))
    got = sockets.up(packet(CLIENT, SERVER))
    assert not is_sound(got)
    assert sockets.server.recv(65_536) == got


# The command line


def test_the_plays_are_all_kinds_of_connections_with_seeds_of_their_own() -> None:
    plays = [*lab.plays(lab.parse(["--seed", "5", "--seconds", "60"]))]
    assert [play.name for play in plays] == [
        "WS json", "WS messagepack", "SSE json", "LP json", "LP messagepack",
        "WS json stateful", "WS messagepack stateful",
    ]  # fmt: skip
    assert [play.seed for play in plays] == [*range(5, 12)]
    assert str(plays[5]) == (
        "--server python --combination WebSockets-json --stateful --seed 10 --seconds 40 --longest 2"
    )


@pytest.mark.parametrize(("must", "user", "status"), [(False, 0, 0), (True, 0, 1), (True, 1000, 0)])
def test_a_machine_without_namespaces(must: bool, user: int, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "is_missing", lambda: True)
    monkeypatch.setattr(lab, "_MUST", must)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert lab.main([]) == status


def test_the_table() -> None:
    rows = [
        Row("WS json", "hole", 3.04, 100, 5, None),
        Row("WS json", "hole", 4.0, 100, 5, "something"),
        Row("LP json", "loss", None, 30, 0, None),
    ]
    assert table(rows).splitlines()[:-1] == [
        "fault  LP json  WS json       violations",
        "hole            4.0 s 200/10  1",
        "loss   - 30/0                 0",
        "all    30/0     200/10        1",
    ]
    assert str(rows[1]) == "WS json: hole: loss noticed after 4.0 s, 100 calls, 5 failed; VIOLATION: something"
