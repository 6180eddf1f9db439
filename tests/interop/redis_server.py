"""Redis as a child process, for two servers to meet at. It keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

START_LIMIT = 60.0  # seconds
STOP_LIMIT = 5.0


class RedisMissingError(Exception):
    """There is no redis-server on this machine."""


class RedisServer:
    """A running server.

    Attributes:
        address: its host and port.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port
        self.address = f"127.0.0.1:{port}"

    @classmethod
    def start(cls) -> Self:
        """Start a server on a free port and wait until it takes connections.

        Raises:
            RedisMissingError: there is no program to start.
            TimeoutError: it does not take connections.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise RedisMissingError(
                "no redis-server on this machine: install it (Debian: apt-get install redis-server)"
            )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            [program, *arguments], cwd=tempfile.gettempdir(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        server = cls(process, port)
        try:
            server._wait()
        except BaseException:
            server.close()
            raise
        return server

    def _wait(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"redis-server takes no connections after {START_LIMIT:g} s") from None
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
