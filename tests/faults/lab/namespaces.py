"""Network namespaces without names: the kernel removes them, and all that is in them, with the processes that use them.

Nothing outside of them is touched, two labs do not see each other, and nothing is left behind however a lab ends. Root
may make them, and on many systems everybody may (in a user namespace). No tool is needed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
# From Linux's header files sched.h, sys/mount.h, linux/sockios.h, linux/if.h, linux/if_tun.h and linux/prctl.h.
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_IFF_UP, _IFF_TUN, _IFF_NO_PI, _TUNSETIFF = 0x1, 0x1, 0x1000, 0x400454CA
_PR_SET_PDEATHSIG = 1

_DEVICE: Final = "tun0"
_MASK: Final = "255.255.0.0"
# Addresses in the client's namespace and at the router. The network is private, and its packets go nowhere else.
CLIENTS: Final = ("10.77.0.1", "10.77.0.2")
SERVERS: Final = ("10.77.1.1", "10.77.1.2")
_SERVERS_SIDE: Final = "10.77.2.1"
HOST: Final = "hub.lab.test"
_HOSTS: Final = "/etc/hosts"


class UnavailableError(Exception):
    """This machine has no namespaces for this user."""


@attrs.frozen
class Names:
    """The host names in this process and in processes that it starts: `/etc/hosts` is another file there."""

    _file: int

    def lead_to(self, address: str) -> None:
        """Let `HOST` have this address."""
        text = f"127.0.0.1 localhost\n{address} {HOST}\n".encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


@attrs.frozen
class Namespaces:
    """Two network namespaces, each with a TUN device. The thread that has made them is in the client's.

    Attributes:
        names: the host names in both namespaces.
        client: file descriptor of the client's TUN device, which does not block.
        server: file descriptor of the server's TUN device, which does not block.
    """

    names: Names
    client: int
    server: int
    _servers_space: int

    @staticmethod
    def set_client_address(address: str) -> None:
        """Let the client have this address in place of its present one. Call this in the client's namespace."""
        _configure(_SIOCSIFADDR, _address(address))
        _configure(_SIOCSIFNETMASK, _address(_MASK))

    def enter_servers(self) -> None:
        """Move this thread to the server's namespace, with all threads and processes that it starts."""
        _call("setns", self._servers_space, _CLONE_NEWNET)


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    """Move this process, which must have a single thread, to new namespaces.

    Raises:
        UnavailableError: this machine has none for this user; the text says what failed.
    """
    opened: list[int] = []
    try:
        try:
            made = _make(opened)
        except (OSError, AttributeError) as error:  # a system without `unshare` is no Linux
            raise UnavailableError(f"no network namespaces with TUN devices: {error}") from error
        yield made
    finally:
        for each in opened:
            os.close(each)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, however that ends."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)


def _make(opened: list[int]) -> Namespaces:
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWNS | _CLONE_NEWNET | (_CLONE_NEWUSER if user else 0))
    if user:
        for name, text in {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}.items():
            Path("/proc/self", name).write_text(text, encoding="ascii")
    names = _own_names(opened)
    names.lead_to(SERVERS[0])
    server = _tun_device(opened)
    Namespaces.set_client_address(_SERVERS_SIDE)
    # Packets of the TUN device may go to 127.0.0.1, where the server listens.
    Path(f"/proc/sys/net/ipv4/conf/{_DEVICE}/route_localnet").write_text("1", encoding="ascii")
    servers_space = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    opened.append(servers_space)
    _call("unshare", _CLONE_NEWNET)
    client = _tun_device(opened)
    Namespaces.set_client_address(CLIENTS[0])
    return Namespaces(names, client, server, servers_space)


def _own_names(opened: list[int]) -> Names:
    """Put a file without a name in the place of `/etc/hosts`, for this process and its children only."""
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    handle, name = tempfile.mkstemp(prefix="hosts-")
    opened.append(handle)
    try:
        os.fchmod(handle, 0o644)
        _call("mount", os.fsencode(name), _HOSTS.encode(), None, _MS_BIND, None)
    finally:
        Path(name).unlink()
    return Names(handle)


def _tun_device(opened: list[int]) -> int:
    """Bring up the loopback device and a new TUN device of this namespace; return the file descriptor of the latter."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    opened.append(device)
    fcntl.ioctl(device, _TUNSETIFF, _request(_DEVICE, struct.pack("H", _IFF_TUN | _IFF_NO_PI)))
    for name in ("lo", _DEVICE):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, _request(name, b"")), 16)
            fcntl.ioctl(control, _SIOCSIFFLAGS, _request(name, struct.pack("H", flags | _IFF_UP)))
    return device


def _configure(what: int, value: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, what, _request(_DEVICE, value))


def _request(name: str, value: bytes) -> bytes:
    """Return a `struct ifreq`."""
    return struct.pack("16s24s", name.encode(), value)


def _address(address: str) -> bytes:
    """Return a `struct sockaddr_in`."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library.

    Raises:
        OSError: it has failed.
    """
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def main() -> int:
    """Return 0 if there are namespaces for this user; write what is missing, and return 1, if not."""
    try:
        with namespaces():
            return 0
    except UnavailableError as error:
        sys.stdout.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
