"""What a server says word for word, in JSON over a WebSocket, and what it answers to odd HTTP requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import END, SHAKE_HANDS, RawClient, call

if TYPE_CHECKING:
    from tests.python_server import AnyServer

CLOSED = "Connection closed with an error."
INVALID = CLOSED + " InvalidDataException: "
UNEXPECTED = "An unexpected error occurred invoking '{}' on the server."
BINDING = (
    "InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of "
    "the hub method being invoked."
)
FAILED = "Failed to invoke '{}' due to an error on the server."
SUM = call("Sum", streamIds=["7"])
ENDED = '{"type":3,"invocationId":"7"}' + END


def failed(text: str, name: str = "1") -> str:
    return json.dumps({"type": 3, "invocationId": name, "error": text}, separators=(",", ":"))


def closed(text: str) -> str:
    return json.dumps({"type": 7, "error": text, "allowReconnect": True}, separators=(",", ":"))


# Said after the handshake, and what comes back; `None` is the close of the WebSocket, 1000.
ENDS = {
    "the hub aborts": (call("AbortMe"), '{"type":7}'),
    "the client closes": ('{"type":7}' + END, '{"type":7}'),
    "the client closes with an error": ('{"type":7,"error":"x"}' + END, '{"type":7}'),
    "no JSON": ("nonsense" + END, closed(INVALID + "Error reading JSON.")),
    "an empty record": (END, closed(INVALID + "Error reading JSON.")),
    "an array": ("[]" + END, closed(INVALID + "Unexpected JSON Token Type 'Array'. Expected a JSON Object.")),
    "a text": ('"x"' + END, closed(INVALID + "Unexpected JSON Token Type 'String'. Expected a JSON Object.")),
    "no type": ("{}" + END, closed(INVALID + "Missing required property 'type'.")),
    "no target": (
        '{"type":1,"invocationId":"1","arguments":[]}' + END,
        closed(INVALID + "Missing required property 'target'."),
    ),
    "no arguments": (
        '{"type":1,"invocationId":"1","target":"Add"}' + END,
        closed(INVALID + "Missing required property 'arguments'."),
    ),
    "no id": ('{"type":2,"item":1}' + END, closed(INVALID + "Missing required property 'invocationId'.")),
    "a target that is null": (
        '{"type":1,"invocationId":"1","target":null,"arguments":[]}' + END,
        closed(INVALID + "Expected 'target' to be of type String."),
    ),
    "arguments that are an object": (
        '{"type":1,"invocationId":"1","target":"Add","arguments":{}}' + END,
        closed(INVALID + "Expected 'arguments' to be of type Array."),
    ),
    "an id that is a number": (
        '{"type":1,"invocationId":1,"target":"Add","arguments":[1,2]}' + END,
        closed(INVALID + "Expected 'invocationId' to be of type String."),
    ),
    "a result and an error": (
        '{"type":3,"invocationId":"x","result":1,"error":"e"}' + END,
        closed(INVALID + "The 'error' and 'result' properties are mutually exclusive."),
    ),
    "a header that is a number": (
        call("Add", 1, 2, headers={"a": 1}),
        closed(INVALID + "Expected header 'a' to be of type String."),
    ),
}


@pytest.mark.parametrize(("said", "answer"), ENDS.values(), ids=ENDS)
async def test_what_ends_a_connection(said: str, answer: str, any_server: AnyServer) -> None:
    async with RawClient(any_server.url().replace("http", "ws")) as client:
        await client.say(said)
        assert await client.hear_all() == ["{}", answer]
        assert client.code == 1000


ANSWERS = {
    "a result": (call("Add", 1, 2), ['{"type":3,"invocationId":"1","result":3}']),
    "nothing": (call("Nothing"), ['{"type":3,"invocationId":"1","result":null}']),
    "headers": (call("Add", 1, 2, headers={"a": "b"}), ['{"type":3,"invocationId":"1","result":3}']),
    "a streaming method invoked": (
        call("Forever", 0),
        [failed("The client attempted to invoke the streaming 'Forever' method with a non-streaming invocation.")],
    ),
    "a method streamed": (
        call("Add", 1, 2, type=4),
        [failed("The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.")],
    ),
    "too many": (
        call("Add", 1, 2, 3),
        [
            failed(
                FAILED.format("Add")
                + " InvalidDataException: Invocation provides 3 argument(s) but target expects 2."
            )
        ],
    ),
    "too few beside a stream": (
        call("SumFrom", streamIds=["7"]),
        [
            failed(
                FAILED.format("SumFrom")
                + " InvalidDataException: Invocation provides 0 argument(s) but target expects 1."
            )
        ],
    ),
    "a text for a number": (call("Add", 1, "5"), [failed(f"{FAILED.format('Add')} {BINDING}")]),
    "a float for an int": (call("Add", 1, 1.0), [failed(f"{FAILED.format('Add')} {BINDING}")]),
    "null for an int": (call("Add", 1, None), [failed(f"{FAILED.format('Add')} {BINDING}")]),
    "a number for a text": (call("EchoString", 1), [failed(f"{FAILED.format('EchoString')} {BINDING}")]),
    "no stream": (
        call("Sum"),
        [failed(UNEXPECTED.format("Sum") + " HubException: Client sent 0 stream(s), Hub method expects 1.")],
    ),
    "a stream too many": (
        call("Add", 1, 2, streamIds=["7"]),
        [failed(UNEXPECTED.format("Add") + " HubException: Client sent 1 stream(s), Hub method expects 0.")],
    ),
    "a stream with an error": (
        SUM + '{"type":3,"invocationId":"7","error":"bad"}' + END,
        [failed(UNEXPECTED.format("Sum") + " HubException: bad")],
    ),
    "a stream that completes with a result": (
        SUM + '{"type":3,"invocationId":"7","result":3}' + END,
        ['{"type":3,"invocationId":"1","result":0}'],
    ),
    "strays": (
        '{"type":2,"invocationId":"x","item":1}' + END + '{"type":3,"invocationId":"x"}' + END
        + '{"type":5,"invocationId":"x"}' + END + '{"type":8,"sequenceId":1}' + END + '{"type":6}' + END
        + call("Add", 1, 2),
        ['{"type":3,"invocationId":"1","result":3}'],
    ),
    "a cancelled invocation": (
        call("Delay", 50) + '{"type":5,"invocationId":"1"}' + END,
        ['{"type":3,"invocationId":"1","result":50}'],
    ),
    "an id in use": (
        call("Counter", 1, 100, type=4) + call("Counter", 1, 0, type=4),
        [
            failed("Invocation ID '1' is already in use."),
            '{"type":2,"invocationId":"1","item":0}',
            '{"type":3,"invocationId":"1"}',
        ],
    ),
    "an invocation with the id of a stream": (
        call("Counter", 1, 100, type=4) + call("Add", 1, 2),
        [
            '{"type":3,"invocationId":"1","result":3}',
            '{"type":2,"invocationId":"1","item":0}',
            '{"type":3,"invocationId":"1"}',
        ],
    ),
    "nobody to ask": (
        call("AskClient", "nobody", "Ask", "q"),
        [failed(UNEXPECTED.format("AskClient") + " IOException: Connection 'nobody' does not exist.")],
    ),
    "what is not for clients": (
        call("OnConnectedAsync"),
        [failed(FAILED.format("OnConnectedAsync") + " HubException: Method does not exist.")],
    ),
    "sends that fail": (
        call("Missing", name=None) + call("Add", "x", 2, name=None) + call("Add", 1, 2),
        ['{"type":3,"invocationId":"1","result":3}'],
    ),
    "a stream that fails": (
        call("CounterThenThrow", 1, "x", type=4),
        [
            '{"type":2,"invocationId":"1","item":0}',
            failed("An error occurred on the server while streaming results. HubException: x"),
        ],
    ),
}  # fmt: skip
PLAIN = {
    "an exception": (call("ThrowException", "x"), UNEXPECTED.format("ThrowException")),
    "a hub exception": (call("ThrowHubException", "x"), UNEXPECTED.format("ThrowHubException") + " HubException: x"),
    "a missing method": (call("Missing"), FAILED.format("Missing") + " HubException: Method does not exist."),
    "a wrong argument": (call("Add", "x", 1), FAILED.format("Add")),
    "a missing argument": (call("Add", 1), FAILED.format("Add")),
    "a wrong item": (
        SUM + '{"type":2,"invocationId":"7","item":"x"}' + END,
        UNEXPECTED.format("Sum") + " HubException: Failed to bind Stream message.",
    ),
    "nobody to ask": (call("AskClient", "nobody", "Ask", "q"), UNEXPECTED.format("AskClient")),
}


@pytest.mark.parametrize(("said", "answers"), ANSWERS.values(), ids=ANSWERS)
async def test_answers(said: str, answers: list[str], any_server: AnyServer) -> None:
    async with RawClient(any_server.url().replace("http", "ws")) as client:
        await client.say(said)
        await client.hears(["{}", *answers])


@pytest.mark.parametrize(("said", "text"), PLAIN.values(), ids=PLAIN)
async def test_answers_without_details(said: str, text: str, any_server: AnyServer) -> None:
    async with RawClient(any_server.url("/hub-plain-errors").replace("http", "ws")) as client:
        await client.say(said)
        await client.hears(["{}", failed(text)])


async def test_an_end_without_details(any_server: AnyServer) -> None:
    async with RawClient(any_server.url("/hub-plain-errors").replace("http", "ws")) as client:
        await client.say("x" + END)
        await client.hears(["{}", closed(CLOSED)])


async def test_a_cancelled_stream_completes(any_server: AnyServer) -> None:
    async with RawClient(any_server.url().replace("http", "ws")) as client:
        await client.say(call("Forever", 60_000, type=4))
        await client.hears(["{}", '{"type":2,"invocationId":"1","item":0}'])
        await client.say('{"type":5,"invocationId":"1"}' + END)
        await client.hears(['{"type":3,"invocationId":"1"}'])


async def test_a_refused_client(any_server: AnyServer) -> None:
    async with RawClient(any_server.url("/hub-refusing").replace("http", "ws")) as client:
        refusal = '{"type":7,"error":"Connection closed with an error. HubException: no entry"}'
        assert await client.hear_all() == ["{}", refusal]
        assert client.code == 1000


async def test_a_silent_client_is_dropped_once_it_has_pinged(any_server: AnyServer) -> None:
    async with RawClient(any_server.url("/hub-impatient").replace("http", "ws")) as client:
        await client.say('{"type":6}' + END)
        *pings, last = await client.hear_all()
    assert set(pings) == {"{}", '{"type":6}'}
    assert last == closed(
        CLOSED + " OperationCanceledException: Client hasn't sent a message/ping within the configured "
        "ClientTimeoutInterval."
    )


SHAKING = CLOSED.replace(CLOSED, "An unexpected error occurred during connection handshake. InvalidDataException: ")
HANDSHAKES = {
    "a protocol": ('{"protocol":"xx","version":1}', "The protocol 'xx' is not supported."),
    "a version": ('{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol."),
    "an array": ("[]", SHAKING + "Unexpected JSON Token Type 'Array'. Expected a JSON Object."),
    "no version": (
        '{"protocol":"json"}',
        SHAKING + "Missing required property 'version'. Message content: " + '{"protocol":"json"}',
    ),
    "no protocol": (
        '{"version":1}',
        SHAKING + "Missing required property 'protocol'. Message content: " + '{"version":1}',
    ),
    "a version that is a text": (
        '{"protocol":"json","version":"1"}',
        SHAKING + "Expected 'version' to be of type Number.",
    ),
    "a protocol that is null": (
        '{"protocol":null,"version":1}',
        SHAKING + "Expected 'protocol' to be of type String.",
    ),
}


@pytest.mark.parametrize(("said", "text"), HANDSHAKES.values(), ids=HANDSHAKES)
async def test_handshakes_that_are_refused(said: str, text: str, any_server: AnyServer) -> None:
    async with RawClient(any_server.url().replace("http", "ws"), said + END) as client:
        (answer,) = await client.hear_all()
        assert json.loads(answer) == {"error": text}
        assert client.code == 1000


@pytest.mark.parametrize("said", ['{"protocol":"JSON","version":1}', '{"protocol":"json","version":2,"x":[]}'])
async def test_handshakes_that_are_accepted(said: str, any_server: AnyServer) -> None:
    async with RawClient(any_server.url().replace("http", "ws"), said + END) as client:
        await client.say(call("Add", 1, 2))
        await client.hears(["{}", '{"type":3,"invocationId":"1","result":3}'])


# HTTP

NO_ID = (400, "Connection ID required")
UNKNOWN = (404, "No Connection with that ID")
REQUESTS = {
    "GET without an id": ("GET", "", NO_ID),
    "GET with an empty one": ("GET", "?id=", NO_ID),
    "GET of another": ("GET", "?id=x", UNKNOWN),
    "POST without an id": ("POST", "", NO_ID),
    "POST to another": ("POST", "?id=x", UNKNOWN),
    "DELETE without an id": ("DELETE", "", NO_ID),
    "DELETE of another": ("DELETE", "?id=x", UNKNOWN),
    "PUT": ("PUT", "?id=x", (405, None)),
    "HEAD": ("HEAD", "?id=x", (405, None)),
    "OPTIONS": ("OPTIONS", "?id=x", (405, None)),
    "GET of negotiate": ("GET", "/negotiate", (405, None)),
    "a slash at the end": ("GET", "/", NO_ID),
    "elsewhere": ("GET", "-elsewhere", (404, None)),
    "a version that is none": (
        "POST",
        "/negotiate?negotiateVersion=x",
        (200, {"error": "The client requested a non-integer protocol version."}),
    ),
    "a version below zero": (
        "POST",
        "/negotiate?negotiateVersion=-1",
        (200, {"error": "The client requested version '-1', but the server does not support this version."}),
    ),
}


async def ask(
    session: aiohttp.ClientSession, method: str, url: str, data: bytes | None = None, *, events: bool = False
) -> tuple[int, str]:
    headers = {"Accept": "text/event-stream"} if events else {}
    async with session.request(method, url, data=data, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(("method", "path", "answer"), REQUESTS.values(), ids=REQUESTS)
async def test_requests(method: str, path: str, answer: tuple[int, Any], any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        status, text = await ask(session, method, any_server.url() + path)
    wanted, said = answer
    assert status == wanted
    if said is not None:
        assert (json.loads(text) if isinstance(said, dict) else text) == said


@pytest.mark.parametrize(("asked", "version"), [("", 0), ("?negotiateVersion=1", 1), ("?negotiateVersion=7", 1)])
async def test_negotiate(asked: str, version: int, any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        _status, text = await ask(session, "POST", f"{any_server.url()}/negotiate{asked}")
    answer = json.loads(text)
    assert answer.pop("negotiateVersion") == version
    assert len(answer.pop("connectionId")) == 22
    assert ("connectionToken" in answer) is bool(version)
    answer.pop("connectionToken", None)
    answer.pop("useStatefulReconnect", None)
    assert answer == {
        "availableTransports": [
            {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
            {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
            {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
        ]
    }


async def negotiated(session: aiohttp.ClientSession, url: str) -> str:
    """Return the URL of a new connection."""
    async with session.post(f"{url}/negotiate?negotiateVersion=1") as answer:
        return f"{url}?id={(await answer.json())['connectionToken']}"


async def test_long_polling(any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, any_server.url())
        assert await ask(session, "DELETE", url) == (
            400,
            "Cannot terminate this connection using the DELETE endpoint.",
        )
        assert await ask(session, "GET", url) == (200, "")
        assert await ask(session, "POST", url, SHAKE_HANDS.encode()) == (200, "")
        assert await ask(session, "GET", url) == (200, "{}" + END)
        assert await ask(session, "GET", url, events=True) == (400, "Cannot change transports mid-connection")
        assert await ask(session, "POST", url, call("AbortMe").encode()) == (200, "")
        assert await ask(session, "GET", url) == (200, '{"type":7}' + END)
        assert await ask(session, "GET", url) == (204, "")
        assert await ask(session, "GET", url) == UNKNOWN
        url = await negotiated(session, any_server.url())
        assert await ask(session, "GET", url) == (200, "")
        assert await ask(session, "DELETE", url) == (202, "")
        status, _text = await ask(session, "POST", url, b"x")
        assert status == 404


async def test_server_sent_events(any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, any_server.url())
        async with session.get(url, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.content_type == "text/event-stream"
            assert answer.headers["Cache-Control"].replace(" ", "") == "no-cache,no-store"
            assert await ask(session, "GET", url, events=True) == (409, "")
            assert await ask(session, "GET", url) == (400, "Cannot change transports mid-connection")
            assert await ask(session, "POST", url, SHAKE_HANDS.encode() + call("AbortMe").encode()) == (200, "")
            text = (await answer.text()).replace("\r\n\r\ndata: ", "")
    assert text == ":\r\ndata: {}" + END + '{"type":7}' + END + "\r\n\r\n"


async def test_binary_is_refused_over_server_sent_events(any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, any_server.url())
        async with session.get(url, headers={"Accept": "text/event-stream"}) as answer:
            await ask(session, "POST", url, b'{"protocol":"messagepack","version":1}\x1e')
            text = await answer.text()
    assert "Cannot use the 'messagepack' protocol on the current transport. The transport does not support" in text


async def test_a_web_socket_takes_nothing_else(any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, any_server.url())
        async with session.ws_connect(url) as socket:
            await socket.send_str(SHAKE_HANDS)
            await socket.receive()
            assert await ask(session, "GET", url) == (400, "Cannot change transports mid-connection")
            assert await ask(session, "POST", url, b"x") == (
                405,
                "POST requests are not allowed for WebSocket connections.",
            )
            with pytest.raises(aiohttp.WSServerHandshakeError) as second:
                await session.ws_connect(url)
            assert second.value.status == 409


async def test_transports_that_are_not_offered(any_server: AnyServer) -> None:
    async with aiohttp.ClientSession() as session:
        url = await negotiated(session, any_server.url("/hub-lp"))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 404
        assert await ask(session, "GET", url, events=True) == (
            404,
            "ServerSentEvents transport not supported by this end point type",
        )
        url = await negotiated(session, any_server.url("/hub-ws"))
        assert await ask(session, "GET", url) == (404, "LongPolling transport not supported by this end point type")


async def test_nobody_comes_in_without_a_token(any_server: AnyServer) -> None:
    url = any_server.url("/hub-auth")
    async with aiohttp.ClientSession() as session:
        for method, path in (("POST", "/negotiate"), ("GET", "?id=x"), ("POST", "?id=x"), ("DELETE", "?id=x")):
            status, _text = await ask(session, method, url + path)
            assert status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 401
