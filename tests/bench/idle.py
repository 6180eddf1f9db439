"""What many connections in one process cost, beside raw aiohttp WebSockets: to open them, and to keep them idle.

    python -m tests.bench.idle [--connections 2000] [--seconds 30]

The server is one of aiohttp's, in a process of its own: it negotiates, shakes hands, and takes what comes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp import web

from signalr_sdk import HubConnection, Timeouts

_PAGE = resource.getpagesize()
_OPENING = 50  # at the same time


@attrs.frozen
class Cost:
    """What many connections cost.

    Attributes:
        opened: of them in a second, by the clock.
        kilobytes: of memory, each.
        processor: share of one, all together, while they only keep themselves alive.
    """

    opened: float
    kilobytes: float
    processor: float


async def ours(url: str, count: int, seconds: float, keep_alive: float) -> Cost:
    """Measure `HubConnection`s with one shared session."""
    timeouts = Timeouts(keep_alive=keep_alive, server=None)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(_session())

        async def connect() -> None:
            await stack.enter_async_context(HubConnection(url, http=session, timeouts=timeouts))

        return await _measured(connect, count, seconds)


async def raw(url: str, count: int, seconds: float, keep_alive: float) -> Cost:
    """Measure aiohttp WebSockets that shook hands, with one task for each that reads; they send nothing."""
    del keep_alive
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(_session())

        async def connect() -> None:
            async with session.post(f"{url}/negotiate?negotiateVersion=1") as answer:
                token = (await answer.json())["connectionToken"]
            ws = await stack.enter_async_context(session.ws_connect(f"{url}?id={token}"))
            await ws.send_str('{"protocol":"json","version":1}\x1e')
            await ws.receive()
            reading = asyncio.create_task(_read(ws))
            stack.callback(reading.cancel)

        return await _measured(connect, count, seconds)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _read(ws: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in ws:
        pass


async def _measured(connect: Any, count: int, seconds: float) -> Cost:
    await connect()
    gc.collect()
    before, begin = _memory(), time.monotonic()
    for _ in range(0, count, _OPENING):
        await asyncio.gather(*(connect() for _ in range(_OPENING)))
    opened = count / (time.monotonic() - begin)
    gc.collect()
    memory = _memory() - before
    begin, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return Cost(opened, memory / count / 1024, (time.process_time() - used) / (time.monotonic() - begin))


def _memory() -> int:
    if not sys.platform.startswith("linux"):
        raise SystemExit("memory is read from /proc, which Linux alone has")
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


# The server


async def _negotiate(_request: web.Request) -> web.Response:
    offered = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
    answer = {"negotiateVersion": 1, "connectionId": "c", "connectionToken": "t", "availableTransports": offered}
    return web.json_response(answer)


async def _hub(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.receive()
    await ws.send_str("{}\x1e")
    async for _ in ws:
        pass
    return ws


async def _serve() -> None:
    app = web.Application()
    app.add_routes([web.post("/hub/negotiate", _negotiate), web.get("/hub", _hub)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/hub", flush=True)  # noqa: T201 - whoever started it reads it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files, if it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard)
        )


def measure(kind: str, *, connections: int, seconds: float, keep_alive: float = 15.0) -> Cost:
    """Measure in a process of its own, against a server in another one."""
    program = [sys.executable, "-m", "tests.bench.idle"]
    with subprocess.Popen([*program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            more = ["--connections", str(connections), "--seconds", str(seconds), "--keep-alive", str(keep_alive)]
            done = subprocess.run([*program, kind, "--url", url, *more], capture_output=True, text=True, check=True)
        finally:
            server.stdin.close()
    return Cost(**json.loads(done.stdout))


def main() -> None:
    """Measure both, or be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", nargs="?", choices=["serve", "ours", "raw"])
    parser.add_argument("--url")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--keep-alive", type=float, default=15.0)
    given = parser.parse_args()
    allow_open_files(given.connections + 500)
    if given.kind == "serve":
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve())
    elif given.kind is not None:
        run = {"ours": ours, "raw": raw}[given.kind]
        print(json.dumps(attrs.asdict(asyncio.run(run(given.url, given.connections, given.seconds, given.keep_alive)))))  # noqa: T201
    else:
        for kind in ("raw", "ours"):
            cost = measure(kind, connections=given.connections, seconds=given.seconds, keep_alive=given.keep_alive)
            processor = f"{100 * cost.processor:.2f} % of a processor"
            print(f"{kind:5} {cost.opened:5.0f} opened in a second, {cost.kilobytes:6.1f} KB each, {processor}")  # noqa: T201


if __name__ == "__main__":
    main()
