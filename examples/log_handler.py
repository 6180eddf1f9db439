"""A program without asyncio whose log records go to a hub, over an outage, and never hold the program up.

    python examples/log_handler.py https://example.com/logs

It wants a hub with a method `SendToAll(event, text)`. The proxy belongs to the rehearsal.
"""

from __future__ import annotations

import logging
import queue
import sys
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from urllib.parse import urlsplit

from signalr_sdk import ConnectionClosedError, Retry, SignalRError, Timeouts
from signalr_sdk.sync import HubConnection
from signalr_sdk.testing import FaultProxy


class HubHandler(logging.Handler):
    """Sends records to a hub, each at least once. Runs on the thread of a `QueueListener`, which may wait."""

    def __init__(self, hub: HubConnection) -> None:
        super().__init__()
        self._hub = hub

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; if the connection was lost meanwhile, send it again."""
        with suppress(SignalRError):  # stop() was called
            while True:
                with suppress(ConnectionClosedError):
                    self._hub.invoke("SendToAll", "log", self.format(record))
                    return


class BoundedQueueHandler(QueueHandler):
    """Drops records when the queue is full, instead of printing an error."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add a record, if there is room."""
        with suppress(queue.Full):
            self.queue.put_nowait(record)


def main(url: str) -> None:
    """Log, lose the line, log on."""
    there, records, lines = urlsplit(url), queue.Queue[logging.LogRecord](1000), queue.Queue[str]()
    log = logging.getLogger("shop")  # not the root logger: the client's own records must not go to the hub
    log.setLevel(logging.INFO)
    log.addHandler(BoundedQueueHandler(records))
    with FaultProxy(there.port or 80, there.hostname or "") as proxy, HubConnection(url) as reader:
        reader.on("log", lines.put)
        hub = HubConnection(
            proxy.url(there.path), reconnect=Retry.forever(), retry_start=True, timeouts=Timeouts(ready=None)
        )
        listener = QueueListener(records, HubHandler(hub))
        listener.start()
        with hub:
            for number in range(100):
                log.info("order %d", number)
                if number == 50:
                    proxy.cut()
            listener.stop()  # waits until the queue is empty
        heard = {lines.get(timeout=20) for _ in range(100)}
    print(f"{len(heard)} of 100 records have arrived")


if __name__ == "__main__":
    main(sys.argv[1])
