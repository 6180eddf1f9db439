"""`HubCalls`: the calls of hub methods over one classic connection, with their progress and answers."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from .._guard.futures import fail, resolve
from .._receiving.queues import EventQueue
from .._sending.calls import closed_under
from ..errors import ClassicHubError, LocalProtocolError, RemoteProtocolError
from .channels import SocketChannel
from .hub_messages import LONGEST_STATE, Call, call_members, length_of
from .session import read_result
from .transports import MESSAGE_END

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._receiving.dispatcher import Dispatcher
    from .channels import Channel
    from .hub_messages import Answer
    from .json_codec import ClassicJson
    from .session import HubMessages

# The answers to the last so many `send`s are read: a hub's complaint goes to `on_error`, and changes of the state are
# taken over.
_MOST_SENT = 1024
# The largest WebSocket message that a server accepts by default.
_MOST_BYTES = 65_536


class _Pending:
    """A call that waits for its answer: a `Sink` of the session and an `Answered` of the channel."""

    def __init__(self, calls: HubCalls, hub: str, method: str, *, exact: bool) -> None:
        self.name: str = f"{hub}.{method}"
        self.call_id = ""
        self._calls = calls
        self._hub = hub
        self._exact = exact

    def progressed(self, value: Any, size: int, /) -> None:
        """See `Sink.progressed`. Drop the value."""

    def answered(self, answer: Answer, /) -> None:
        """See `Sink.answered`."""
        if answer.state:
            self._calls.messages.merge(self._hub, answer.state)
        if answer.error is None and not answer.is_hub_exception:
            self.end(answer.result)
            return
        text = answer.error or "the hub method failed, and the server says no more"
        error = ClassicHubError(
            text,
            self.name,
            data=answer.data,
            is_hub_exception=answer.is_hub_exception,
            server_trace=answer.trace,
        )
        self.fail(error)

    def posted(self, body: bytes, /) -> None:
        """See `Answered.posted`."""
        self._calls.messages.forget(self.call_id)
        self.answered(read_result(body, self._calls.json, self.call_id, exact=self._exact))

    def end(self, result: Any) -> None:
        """Take the result of the call."""

    def fail(self, error: Exception, /) -> None:
        """Take the error of the call."""


class PendingInvocation(_Pending):
    """A call whose caller waits for the result.

    Args:
        calls: the calls of the connection.
        hub: the name of the hub.
        method: the name of the method.
        exact: whether the result must not lose digits of numbers.
        progress: the queue of the values that the method reports; `None` if the caller does not want them.

    Attributes:
        size: the number of bytes of the call.
    """

    def __init__(self, calls: HubCalls, hub: str, method: str, *, exact: bool, progress: EventQueue | None) -> None:
        super().__init__(calls, hub, method, exact=exact)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.progress = progress
        self.size = 0

    def progressed(self, value: Any, size: int, /) -> None:
        """See `Sink.progressed`."""
        if self.progress is not None:
            self.progress.put(value, size)

    def end(self, result: Any) -> None:
        """See `_Pending.end`."""
        resolve(self.future, result)
        if self.progress is not None:
            self.progress.end()

    def fail(self, error: Exception, /) -> None:
        """See `_Pending.fail`."""
        fail(self.future, error)
        if self.progress is not None:
            self.progress.end()

    async def result(self, on_progress: Callable[[Any], Any]) -> Any:
        """Call `on_progress` with each value that the method reports, and return the result."""
        queue = self.progress
        assert queue is not None
        while True:
            if queue.messages:
                value = on_progress(queue.take())
                if inspect.isawaitable(value):
                    await value
            elif queue.ended:
                return await self.future
            else:
                await queue.wait()

    def abandon(self) -> None:
        """Let nobody wait for the call any more."""
        if self.future.done() and not self.future.cancelled():
            self.future.exception()  # retrieve the error, or asyncio logs it
        if self.progress is not None:
            self.progress.end()
            self.progress.clear()


class _Sent(_Pending):
    """A call whose caller does not wait for an answer."""

    def posted(self, body: bytes, /) -> None:
        """See `Answered.posted`. What is wrong with the answer is no error of `send`."""
        try:
            super().posted(body)
        except RemoteProtocolError as error:
            self.fail(error)

    def fail(self, error: Exception, /) -> None:
        """See `_Pending.fail`."""
        self._calls.dispatcher.push_error(error)


@attrs.define(eq=False)
class HubCalls:
    """Calls hub methods over one connection, and gives each caller the result.

    Attributes:
        messages: knows the calls that wait for an answer.
        json: encodes and decodes.
        dispatcher: gets the errors that no call can raise.
        channel: sends the calls.
    """

    messages: HubMessages
    json: ClassicJson
    dispatcher: Dispatcher
    channel: Channel
    _pending: dict[PendingInvocation, None] = attrs.field(factory=dict, init=False)
    _sent: deque[str] = attrs.field(factory=deque, init=False)

    async def invoke(self, call: Call, *, exact: bool, on_progress: Callable[[Any], Any] | None, mark: int) -> Any:
        """Call a hub method and wait for its result.

        Args:
            call: the call, without an id.
            exact: whether the result must not lose digits of numbers.
            on_progress: called with each value that the method reports.
            mark: the number of waiting values above which the queue of these values counts as long.
        """
        queue = None
        if on_progress is not None:
            report = self.dispatcher.report_dropped
            queue = EventQueue(self.dispatcher.backlog, mark, named=False, newest=False, dropped=report)
        pending = PendingInvocation(self, call.hub, call.method, exact=exact, progress=queue)
        try:
            record = self._encode(call, pending, exact=exact)
            pending.size = len(record) - len(MESSAGE_END)
            self._pending[pending] = None
            await self.channel.post(record, pending)
            return await (pending.future if on_progress is None else pending.result(on_progress))
        finally:
            self._pending.pop(pending, None)
            self.messages.forget(pending.call_id)
            self.channel.forget(pending)
            pending.abandon()

    async def send(self, call: Call) -> None:
        """Call a hub method without waiting for the answer."""
        sent = _Sent(self, call.hub, call.method, exact=False)
        record = self._encode(call, sent, exact=False)
        self._sent.append(sent.call_id)
        if len(self._sent) > _MOST_SENT:
            self.messages.forget(self._sent.popleft())
        try:
            await self.channel.send(record, sent)
        except BaseException:
            self.messages.forget(sent.call_id)
            raise

    def _encode(self, call: Call, pending: _Pending, *, exact: bool) -> bytes:
        members = call_members(call)
        if call.state:
            self._check_state(call)
        pending.call_id = members["I"] = self.messages.new_id(pending, exact=exact)
        try:
            return self.json.encode(members) + MESSAGE_END
        except BaseException:
            self.messages.forget(pending.call_id)
            raise

    def _check_state(self, call: Call) -> None:
        # Do not count `{"S":` and `}` around the state.
        size = length_of(self.json.encode({"S": call.state})) - 6
        if size > LONGEST_STATE:
            raise LocalProtocolError(
                f"the state of the hub '{call.hub}' has {size} characters of JSON: a server takes {LONGEST_STATE}"
            )

    def end(self, error: Exception) -> None:
        """Fail all calls that wait for an answer, after the connection has ended."""
        for call in list(self._pending):
            failed = closed_under(call.name, error)
            if call.size > _MOST_BYTES and isinstance(self.channel, SocketChannel):
                failed.message += (
                    f"; the call has {call.size} bytes, and unless it is set up otherwise, a server hangs up when a "
                    f"WebSocket message has more than {_MOST_BYTES}"
                )
            call.fail(failed)
        for call_id in self._sent:
            self.messages.forget(call_id)
        self._sent.clear()
