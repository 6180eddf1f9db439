"""What a session hands on, as messages again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signalr_sdk.messages import Completion, HubMessage, Invocation, StreamItem

if TYPE_CHECKING:
    from signalr_sdk._core.routing import Deliveries


class Recorder:
    """A `Sink` and an `Inbox`.

    Attributes:
        got: all that it took, in order.
    """

    def __init__(self) -> None:
        self.got: list[HubMessage] = []

    def items(self, items: list[Any], sizes: list[int]) -> None:
        self.got += [StreamItem("", item, size=size) for item, size in zip(items, sizes, strict=True)]

    def completed(self, result: Any, error: str | None) -> None:
        self.got.append(Completion("", result, error, error is None))

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        self.got += [
            Invocation(target, values, size=size)
            for target, values, size in zip(targets, arguments, sizes, strict=True)
        ]

    def message(self, message: HubMessage) -> None:
        self.got.append(message)


def messages_of(received: Deliveries) -> list[HubMessage]:
    """Return what is handed on, in order, without handing it on."""
    return [message for _sink, message in pairs_of(received)]


def pairs_of(received: Deliveries) -> list[tuple[object, HubMessage]]:
    """Return the same, each message behind the `Sink` or `Inbox` that it goes to."""
    pairs: list[tuple[object, HubMessage]] = []
    for hand_on, arguments in received:
        recorder = Recorder()
        getattr(recorder, hand_on.__name__)(*arguments)
        pairs += [(hand_on.__self__, message) for message in recorder.got]  # type: ignore[attr-defined]  # it is bound
    return pairs
