"""The defects that were found in other clients, each with the tests that would fail on it or why it cannot have one.

Each defect was seen in that client as it ran, or read in its source.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[1]

# Why a defect has no test.
SERVER: Final = "this happens inside the server"
UNUSABLE: Final = "that client could not be run at all"

HUB: Final = "tests/hub/test_hub_connection.py::"
SCRIPT: Final = "tests/hub/test_other_clients.py::"
WIRE: Final = "tests/hub/test_other_clients_on_the_wire.py::"
RETRY: Final = "tests/test_retry.py::"
HANDSHAKE: Final = "tests/core/test_handshake.py::"
SESSION: Final = "tests/core/test_session.py::"
STATEFUL: Final = "tests/hub/test_stateful_reconnect.py::"
REFRESH: Final = "tests/hub/test_authentication_refresh.py::"

TOKEN = SCRIPT + "test_each_attempt_has_a_fresh_token_from_negotiate_on"
SECRETS = SCRIPT + "test_headers_and_token_are_in_no_hub_message"
AWAY = SCRIPT + "test_a_server_that_is_away_at_the_start"
OFTEN = SCRIPT + "test_it_comes_back_as_often_as_it_is_lost"
FAILING = SCRIPT + "test_attempts_that_fail_are_not_the_last"
REASON = SCRIPT + "test_the_reason_is_kept_when_the_policy_gives_up"
FROM_THE_HUB = SCRIPT + "test_each_attempt_begins_at_the_hub_with_the_users_token"
QUERY = SCRIPT + "test_a_url_with_a_query"
REFUSED = SCRIPT + "test_a_start_that_is_refused_says_so"
UNKNOWN = SCRIPT + "test_what_is_unknown_is_ignored"
SPLIT = SCRIPT + "test_a_message_may_be_split_anywhere"
HUB_ERRORS = SCRIPT + "test_errors_of_the_hub_reach_the_caller"
CLOSE = SCRIPT + "test_a_close_that_allows_no_reconnect_is_the_end"
CLOSE_ALLOWING = SCRIPT + "test_a_close_that_allows_it_leads_to_a_reconnect"
HANDLERS_DIFFER = SCRIPT + "test_handlers_of_one_event_may_take_it_differently"
LIFECYCLE = SCRIPT + "test_lifecycle_handlers_are_isolated_and_can_be_removed"
UNTOUCHED = SCRIPT + "test_arguments_are_left_as_they_are"
RUN = SCRIPT + "test_run_tells_cancelled_from_failed"

FIRST_FRAME = HUB + "test_messages_next_to_the_handshake_answer_reach_their_handlers"
HANDSHAKE_REFUSED = HUB + "test_a_refused_handshake_fails_the_start"
NO_HANDSHAKE = HUB + "test_a_handshake_that_is_never_answered_times_out"
PENDING = HUB + "test_pending_calls_fail_when_the_connection_is_lost"
CLOSE_TEXT = HUB + "test_a_close_message_ends_the_connection_with_its_text"
GARBAGE = HUB + "test_garbage_ends_the_connection_with_a_named_error"
SILENT = HUB + "test_a_silent_server_is_noticed"
GOODBYE = HUB + "test_stop_sends_what_waits_and_says_good_bye"
BOUNDED_STOP = HUB + "test_stop_with_a_peer_that_takes_nothing_is_bounded"
GIVEN_UP = HUB + "test_a_call_that_is_given_up_is_cancelled_on_the_server"
EARLY = HUB + "test_calls_wait_for_a_connection_that_is_being_made"
READY = HUB + "test_calls_wait_for_a_connection_only_so_long"
LET_GO = HUB + "test_a_stream_that_is_let_go_of_is_cancelled_on_the_server_once"
SOURCE = HUB + "test_the_source_is_closed_whatever_happens"
SOURCE_ERROR = HUB + "test_an_error_of_the_source_is_told_to_the_server"
ORDER = HUB + "test_events_are_handled_in_order_also_by_async_handlers"
CALL_BACK = HUB + "test_a_handler_may_call_the_hub_and_wait"
ISOLATED = HUB + "test_errors_of_handlers_are_isolated"
RESULTS = HUB + "test_client_results"

COMBINATIONS = WIRE + "test_it_talks_where_the_server_has_one_transport_only"
LARGE = WIRE + "test_large_messages"
LARGEST = WIRE + "test_a_message_of_20_megabytes_where_the_limit_allows_it"
NO_LIMITS = WIRE + "test_a_server_that_says_nothing_is_not_waited_for_without_end"
HANDSHAKES = WIRE + "test_a_handshake_without_an_answer_times_out"
SILENT_STOP = WIRE + "test_stop_does_not_wait_for_a_silent_server"
TOKEN_HEADER = WIRE + "test_the_token_is_a_header_on_every_request"
REDIRECT = WIRE + "test_the_token_of_a_redirect_goes_with_every_request"
COOKIES = WIRE + "test_cookies_of_negotiate_are_sent_on"
FALLBACK = WIRE + "test_the_next_transport_is_tried"
NO_UPGRADE = WIRE + "test_a_refused_upgrade_is_no_upgrade"
PINGED = WIRE + "test_pings_of_the_web_socket_are_answered_also_between_fragments"
POLLED = WIRE + "test_a_poll_may_bring_several_messages"
GONE = WIRE + "test_a_poll_that_fails_is_the_last"
NEW_TOKEN = WIRE + "test_a_401_asks_for_another_token_once"
POSTS_PING = WIRE + "test_pings_go_out_over_posts_too"
IDLE_POLLS = WIRE + "test_long_polling_has_neither_pings_nor_a_server_timeout"
NO_LOST_ITEM = WIRE + "test_streams_lose_no_item"
UPGRADE_CHECKED = WIRE + "test_the_answer_to_an_upgrade_is_checked"

# client -> defect -> tests
DEFECTS: Final[dict[str, dict[str, list[str] | str]]] = {
    "pysignalr": {
        "asks for the access token after negotiate and the upgrade, which go out without one": [TOKEN, TOKEN_HEADER],
        "a server that is away at the start ends run() at once, whatever retry_count says": [AWAY],
        "reconnects with a used connection id and never gives spent retries back: the tenth loss is the last": [OFTEN],
        "hits a server that accepts and closes in a tight loop, and leaves a task behind each time": [
            OFTEN,
            RETRY + "test_the_default_is_spread_and_grows_without_end",
        ],
        "an exception of a user's handler ends the client": [ISOLATED, UNKNOWN],
        "handlers are awaited on the receive loop: a handler that waits for a call waits for ever": [CALL_BACK],
        "calls and streams that are pending at a loss are neither completed nor failed": [PENDING],
        "a Close with an error raises although it allows a reconnect; a Close without one is ignored": [
            CLOSE,
            CLOSE_ALLOWING,
            CLOSE_TEXT,
        ],
        "an unknown property, or half a message, ends the client": [UNKNOWN, SPLIT],
        "an Ack, or an error of the hub without a global on_error, ends the client; the call is not told": [
            UNKNOWN,
            HUB_ERRORS,
        ],
        "the handshake has no timeout": [NO_HANDSHAKE, HANDSHAKES],
        "keeps the URL and the first token of a redirect for all later connections": [FROM_THE_HUB],
        "a message of 1.5 MB, over the default of its WebSocket library, ends it after 20 reconnects": [LARGE],
        "an error of an upload's source is not told to the server, which waits for more items": [SOURCE_ERROR],
        "importing it replaces a method of `websockets` for the whole process": [
            SCRIPT + "test_importing_it_changes_no_other_package"
        ],
        "has no stop(); run() cannot tell cancelled from failed, and the state stays connected": [RUN],
        "puts the HTTP headers, the token among them, into every invocation": [SECRETS],
        "each attempt uses the token of the attempt before": [TOKEN],
        "maps with integer keys end the client; datetime and ext values cannot be sent": [
            SCRIPT + "test_messagepack_values_that_others_refuse"
        ],
    },
    "signalrcore": {
        "start() returns before the handshake is answered, and calls go out before the answer": [EARLY],
        "takes control frames of the WebSocket for data: a ping ends it or is mixed into a message": [PINGED],
        "answers no ping of the WebSocket: servers and proxies that send them hang up": [PINGED],
        "an exception of a user's handler ends the receive thread, and on_error is not called": [ISOLATED],
        "handlers run on the receive thread: a handler that waits for a result waits for ever": [CALL_BACK],
        "errors of the hub go to the global on_error only, never to the call or the stream": [HUB_ERRORS],
        "calls that are pending at a loss never fail": [PENDING],
        "puts the bearer token into every hub message": [SECRETS],
        "asks for a token once: a reconnect sends the first one again": [TOKEN],
        "leaves the port out of the Host header": [UPGRADE_CHECKED],
        "a 401 from negotiate raises an HTTPError of urllib instead of its own error for that": [REFUSED],
        "cannot use the proxy that it is given": [WIRE + "test_a_proxy_is_used"],
        "a server with long polling only is an error": [COMBINATIONS],
        "hands on one message for each poll, although a poll brings several": [POLLED],
        "polls carry no Authorization header": [TOKEN_HEADER],
        "polls a connection that is gone (404) in a tight loop, and never calls on_close": [GONE],
        "long polling with MessagePack raises a TypeError": [COMBINATIONS],
        "an unknown message type, or half a message, ends the connection": [UNKNOWN, SPLIT],
        "a message that cannot be decoded takes the rest of its frame with it, without a word": [
            SESSION + "test_what_came_before_an_undecodable_message_is_not_lost"
        ],
        "reconnects after a Close that does not allow it": [CLOSE],
        "when the first attempt to reconnect fails, stays in `reconnecting` for ever without another attempt": [
            FAILING
        ],
        "calls made while reconnecting are lost, and nothing is raised": [FAILING, READY],
        "a 503 whose headers contain 101 counts as an upgrade; Sec-WebSocket-Accept is not looked at": [
            NO_UPGRADE,
            UPGRADE_CHECKED,
        ],
        "encoding renames attributes of the user's own objects": [UNTOUCHED],
        "a server that says nothing over an open connection is never noticed": [SILENT],
        "sends no pings unless it is to reconnect": [HUB + "test_pings_go_out", POSTS_PING],
        "stop() waits until the server happens to send something": [SILENT_STOP, BOUNDED_STOP],
        "sends no pings on Server-Sent Events: the server hangs up after 30 s": [POSTS_PING],
        "sends a ping each second on long polling": [IDLE_POLLS],
        "async handlers are never awaited": [ORDER],
        "the coroutine of an async handler is dropped, with a RuntimeWarning at most": [ORDER],
        "the asyncio start() returns when the handshake was refused": [HANDSHAKE_REFUSED],
        "a start that failed keeps a lock: the next one asserts after 10 s": [REFUSED],
        "a refused handshake: start() returns True, the state is connected, no callback is called": [HANDSHAKE_REFUSED],
        "has no timeout on connect, negotiate and receive: start() waits as long as the peer is silent": [
            NO_HANDSHAKE,
            NO_LIMITS,
            HANDSHAKES,
        ],
        "no lock around writes: large calls of several threads mix their frames": [
            WIRE + "test_large_calls_of_many_tasks_do_not_mix"
        ],
        "stream() sends before anybody can subscribe: items that come meanwhile are lost": [NO_LOST_ITEM],
        "via its builder, neither calls nor events nor streams work on long polling with MessagePack": [COMBINATIONS],
    },
    "aiosignalr": {
        "hub messages in one frame with the handshake answer are lost": [
            FIRST_FRAME,
            SESSION + "test_messages_next_to_the_handshake_answer_are_not_lost",
        ],
        "a message of 40 KB ends the connection, and the limit cannot be set": [LARGE, LARGEST],
        "ignores the URL and the token of a redirect: Azure cannot work": [FROM_THE_HUB, REDIRECT],
        "pastes `/negotiate` behind the query of the URL": [QUERY],
        "pastes the connection id wrongly to a URL with a query": [QUERY],
        "a refused upgrade is the end: the other transports are not tried": [FALLBACK],
        "a server that hangs up instead of answering the handshake is noticed after 15 s": [
            HUB + "test_a_connection_that_ends_before_the_handshake"
        ],
        "a task for each event: async handlers run in reverse order": [ORDER],
        "a call that was cancelled keeps its entry for ever": [GIVEN_UP],
        "a stream that nobody iterates goes on queueing, and is never cancelled on the server": [LET_GO],
        "cancels streams on the server that have ended": [LET_GO],
        "the queue of a stream has no bound": [HUB + "test_a_stream_that_holds_too_much_fails_alone"],
        "drops the error text of a Close, and reconnects although it is not allowed": [CLOSE, CLOSE_TEXT],
        "an upload whose source raises is completed as if it were whole": [SOURCE_ERROR],
        "MessagePack: writes the integer 128 where the map of headers belongs, which ends the connection": [
            SCRIPT + "test_the_headers_of_messagepack_are_a_map"
        ],
        "polls again after a 204, and reports an error of its own making": [WIRE + "test_a_204_ends_the_polling"],
        "cookies of negotiate are not sent with the WebSocket": [COOKIES],
        "after a refused resume the old buffer stays: every call hangs and every event is dropped": [
            STATEFUL + "test_a_refused_resume_becomes_an_ordinary_reconnect"
        ],
        "resuming has no delay and no limit: a server that accepts and closes is hit in a tight loop": [
            STATEFUL + "test_a_server_that_takes_it_and_hangs_up_is_not_hit_in_a_tight_loop"
        ],
        "Server-Sent Events run under the HTTP client's total timeout: they end every 5 minutes": [
            WIRE + "test_an_event_stream_has_no_total_timeout"
        ],
        "a reconnect negotiates although negotiation is to be skipped": [SCRIPT + "test_negotiation_stays_skipped"],
        "swallows CancelledError and KeyboardInterrupt around handlers and reconnects": [RUN],
    },
    "signalr-async, signalr-zero and signalr-unified-client": {
        "signalr-async has one handler for each name": [HANDLERS_DIFFER],
        "signalr-zero comes back without a pause after a close in good order": [CLOSE, OFTEN],
        "signalr-zero loses messages next to the handshake answer": [
            FIRST_FRAME,
            SESSION + "test_messages_next_to_the_handshake_answer_are_not_lost",
        ],
        "signalr-unified-client: what it has for ASP.NET Core does not work": UNUSABLE,
        "signalr-unified-client swallows nearly all errors": UNUSABLE,
        "signalr-zero does not verify certificates by default": [WIRE + "test_an_untrusted_certificate_is_refused"],
        "signalr-zero gives all invocations the id 0": [SCRIPT + "test_calls_have_ids_of_their_own"],
    },
    "what was tried with pysignalr, signalrcore and aiosignalr": {
        "the handshake answer and a message in one frame": [FIRST_FRAME],
        "a hub message in two WebSocket messages": [SPLIT],
        "several messages in one frame": [SCRIPT + "test_several_messages_in_one_frame", POLLED],
        "an unknown message type, an unknown property": [UNKNOWN],
        "a handler that raises": [ISOLATED],
        "a handler that calls the hub and waits": [CALL_BACK],
        "the order of events with async handlers": [ORDER],
        "a call that is pending at a disconnect": [PENDING],
        "a hub that is silent while TCP and the WebSocket live": [SILENT],
        "a server that is away for 3 s and then back": [FAILING],
        "a server that is away at the start": [AWAY],
        "how long stop() takes": [SILENT_STOP, GOODBYE],
        "a message of 40 KB, 1.5 MB, 20 MB": [LARGE, LARGEST],
        "the token of the first connect and of a reconnect": [TOKEN],
    },
    "JavaScript": {
        "a 401 closes the connection instead of asking for another token": [NEW_TOKEN],
        "adjacent upload streams among the arguments are mixed up, and the caller's array is changed": [
            HUB + "test_several_uploads_and_plain_arguments_in_one_call",
            UNTOUCHED,
        ],
        "stateful reconnect: a Close message or a server timeout leaves a new socket open on the old id": [
            STATEFUL + "test_a_close_message_is_not_resumed",
            STATEFUL + "test_a_silent_line_is_resumed_too",
        ],
        "stop() hangs while an upgrade is stalled": [
            HUB + "test_stop_during_a_stalled_connect",
            STATEFUL + "test_stop_during_a_stalled_resume",
        ],
        "stateful reconnect: a close in good order is taken for a cut": [
            STATEFUL + "test_a_line_that_is_closed_in_good_order_is_not_resumed"
        ],
        "after a failed resume the old buffer stays, and those who wait in it are never released": [
            STATEFUL + "test_a_refused_resume_becomes_an_ordinary_reconnect",
            STATEFUL + "test_senders_that_wait_are_told_when_the_connection_is_lost_for_good",
        ],
        "stream items that come before subscribe() are lost": [NO_LOST_ITEM],
        "half a message in a frame or a poll is the end of the connection": [SPLIT],
        "the handshake has no timeout of its own, and none at all on long polling": [HANDSHAKES],
        "a lifecycle callback that throws skips the others; none can be removed": [LIFECYCLE],
        "async handlers of consecutive events overlap; 0 and false count as no client result": [ORDER, RESULTS],
        "a failed upgrade hides its status; onclose gets no reason after the last attempt": [REASON, NO_UPGRADE],
        "Server-Sent Events put the token into the query; uploads go on after a disconnect": [TOKEN_HEADER, SOURCE],
        "a call made before the handshake is answered is transmitted at once": [EARLY],
        "a send queue that was not emptied made the first reconnect fail": [
            SCRIPT + "test_nothing_of_the_last_connection_is_sent_on_the_next"
        ],
    },
    ".NET": {
        "cancelling a plain invocation does not cancel it on the server": [GIVEN_UP],
        "the queue of invocations has no bound": [HUB + "test_events_that_hold_too_much_are_dropped_oldest_first"],
        "the first handler of a name decides the types of the arguments for all": [HANDLERS_DIFFER],
        "a server timeout is never resumed, so a half-open line never uses stateful reconnect": [
            STATEFUL + "test_a_silent_line_is_resumed_too"
        ],
        "the error of a failed resume is lost: Reconnecting and Closed get null": [
            REASON,
            STATEFUL + "test_the_reason_of_a_silent_server_is_kept",
        ],
        "a full buffer of stateful reconnect blocks pings, Acks and Close too": [
            BOUNDED_STOP,
            STATEFUL + "test_senders_wait_for_acks_and_nothing_else_does",
            STATEFUL + "test_stop_with_senders_that_wait_for_acks",
        ],
        "calls wait during an attempt to reconnect, but fail during the delay between two": [READY],
        "all errors are retried alike, and the default policy has no jitter": [
            RETRY + "test_what_is_a_wrong_url_or_token_at_first",
            RETRY + "test_the_default_is_spread_and_grows_without_end",
        ],
        "of several async lifecycle handlers only the last one's error is seen; one that throws stops the others": [
            ISOLATED,
            LIFECYCLE,
        ],
        "awaiting handlers while closing, or a call inside a handler, deadlocked": [CALL_BACK],
        "a stale token renewal timer fires in the gap between two connections and logs a failure": [
            REFRESH + "test_the_timer_of_a_lost_connection_does_not_fire"
        ],
    },
    "Java": {
        "no fallback when the WebSocket fails; allowReconnect of a Close is ignored": [FALLBACK, CLOSE_ALLOWING],
        "a cookie that is set again keeps its old value": [COOKIES],
        "after a redirect, long polling uses the token of the first server": [REDIRECT],
        "the user's map of headers is changed with every request": [SECRETS],
        "the handshake answer must come whole": [HANDSHAKE + "test_a_handshake_that_comes_byte_by_byte"],
        "what does not fit into the full send queue is dropped without a word": [
            HUB + "test_send_waits_while_the_outgoing_buffer_is_full"
        ],
    },
    "Swift": {
        "ignores and never sends Close, leaves pending calls hanging, goes on after what it cannot read": [
            CLOSE,
            GOODBYE,
            PENDING,
            GARBAGE,
        ],
        "a handler that raises sends no client result": [RESULTS],
        "keeps the token of a redirect for ever": [FROM_THE_HUB],
        "polls a connection that is gone in a tight loop, and cuts idle polls after 30 s": [GONE, IDLE_POLLS],
        "no handshake timeout; goes on after an unreadable handshake answer": [HANDSHAKES, GARBAGE],
        "a handler that waits for a call blocks the receive path": [CALL_BACK],
        "does not show the connection id": [HUB + "test_start_returns_when_the_handshake_is_done"],
    },
    "servers": {
        "stateful reconnect with a Redis backplane lost messages in early versions": SERVER,
        "a client result after the server cancelled its call closed the connection in early .NET 7": SERVER,
        "each poll and POST is authenticated anew: an expired token is a 401 on the next one": [NEW_TOKEN],
        "a POST while another one is under way is answered with 409": [WIRE + "test_there_is_one_post_at_a_time"],
    },
}


@cache
def functions_in(path: str) -> frozenset[str]:
    """Return the names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("client", "defect"), [(client, defect) for client in DEFECTS for defect in DEFECTS[client]])
def test_each_defect_has_a_test_or_a_reason(client: str, defect: str) -> None:
    tests = DEFECTS[client][defect]
    assert tests
    if isinstance(tests, str):
        return
    for test in tests:
        path, _, function = test.partition("::")
        assert function in functions_in(path), f"there is no {test}"
