"""The list of what breaks in other clients, and where each is tested or why it cannot be here.

The ids are those of the project's notes on other clients: P, C, A, M and 1e.n for clients in Python, 5.n.n for the
official ones. A test that is listed names the id in its docstring.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NOTES = ROOT / ".." / "shared" / "reference"

# Why some have no test.
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

DEFECTS: Final[dict[str, str | list[str]]] = {
    # pysignalr
    "P1": [TOKEN, TOKEN_HEADER],
    "P2": [AWAY],
    "P3": [OFTEN],
    "P4": [OFTEN, RETRY + "test_the_default_is_spread_and_grows_without_end"],
    "P5": [ISOLATED, UNKNOWN],
    "P6": [CALL_BACK],
    "P7": [PENDING],
    "P8": [CLOSE, CLOSE_ALLOWING, CLOSE_TEXT],
    "P9": [UNKNOWN, SPLIT],
    "P11": [UNKNOWN, HUB_ERRORS],
    "P13": [NO_HANDSHAKE, HANDSHAKES],
    "P14": [FROM_THE_HUB],
    "P15": [LARGE],
    "P16": [SOURCE_ERROR],
    "P17": [SCRIPT + "test_importing_it_changes_no_other_package"],
    "P18": [RUN],
    "P20": [SECRETS],
    "P20b": [TOKEN],
    "P21": [SCRIPT + "test_messagepack_values_that_others_refuse"],
    # signalrcore
    "C1": [EARLY],
    "C2": [PINGED],
    "C2b": [PINGED],
    "C3": [ISOLATED],
    "C4": [CALL_BACK],
    "C5": [HUB_ERRORS],
    "C6": [PENDING],
    "C7": [SECRETS],
    "C7b": [TOKEN],
    "C7c": [UPGRADE_CHECKED],
    "C8": [REFUSED],
    "C9": [WIRE + "test_a_proxy_is_used"],
    "C10": [COMBINATIONS],
    "C11": [POLLED],
    "C11b": [TOKEN_HEADER],
    "C12": [GONE],
    "C13": [COMBINATIONS],
    "C14": [UNKNOWN, SPLIT],
    "C15": [SESSION + "test_what_came_before_an_undecodable_message_is_not_lost"],
    "C17": [CLOSE],
    "C18c": [FAILING],
    "C18d": [FAILING, READY],
    "C19": [NO_UPGRADE, UPGRADE_CHECKED],
    "C20": [UNTOUCHED],
    "C21": [SILENT],
    "C22": [HUB + "test_pings_go_out", POSTS_PING],
    "C23": [SILENT_STOP, BOUNDED_STOP],
    "C25": [POSTS_PING],
    "C27": [IDLE_POLLS],
    "C29": [ORDER],
    "C30": [ORDER],
    "C31": [HANDSHAKE_REFUSED],
    "C32": [REFUSED],
    "C33": [HANDSHAKE_REFUSED],
    "C34": [NO_HANDSHAKE, NO_LIMITS, HANDSHAKES],
    "C35": [WIRE + "test_large_calls_of_many_tasks_do_not_mix"],
    "C38": [NO_LOST_ITEM],
    "I3": [COMBINATIONS],
    # aiosignalr
    "A1": [FIRST_FRAME, SESSION + "test_messages_next_to_the_handshake_answer_are_not_lost"],
    "A2": [LARGE, LARGEST],
    "A3": [FROM_THE_HUB, REDIRECT],
    "A3b": [QUERY],
    "A3c": [QUERY],
    "A4": [FALLBACK],
    "A5b": [HUB + "test_a_connection_that_ends_before_the_handshake"],
    "A6": [ORDER],
    "A7": [GIVEN_UP],
    "A7b": [LET_GO],
    "A7c": [LET_GO],
    "A8": [HUB + "test_a_stream_that_holds_too_much_fails_alone"],
    "A9": [CLOSE, CLOSE_TEXT],
    "A10": [SOURCE_ERROR],
    "A11": [SCRIPT + "test_the_headers_of_messagepack_are_a_map"],
    "A12": [WIRE + "test_a_204_ends_the_polling"],
    "A14": [COOKIES],
    "A16": [STATEFUL + "test_a_refused_resume_becomes_an_ordinary_reconnect"],
    "A17": [STATEFUL + "test_a_server_that_takes_it_and_hangs_up_is_not_hit_in_a_tight_loop"],
    "A23": [WIRE + "test_an_event_stream_has_no_total_timeout"],
    "A24": [SCRIPT + "test_negotiation_stays_skipped"],
    "A BaseException": [RUN],
    # signalr-async, signalr-zero, signalr-unified-client
    "M1": [HANDLERS_DIFFER],
    "M3b": [CLOSE, OFTEN],
    "M3c": [FIRST_FRAME, SESSION + "test_messages_next_to_the_handshake_answer_are_not_lost"],
    "M4": UNUSABLE,
    "M5": UNUSABLE,
    "signalr-zero TLS": [WIRE + "test_an_untrusted_certificate_is_refused"],
    "signalr-zero ids": [SCRIPT + "test_calls_have_ids_of_their_own"],
    # The scenarios that were run against all of them
    "1e.1": [FIRST_FRAME],
    "1e.2": [SPLIT],
    "1e.3": [SCRIPT + "test_several_messages_in_one_frame", POLLED],
    "1e.4": [UNKNOWN],
    "1e.5": [ISOLATED],
    "1e.6": [CALL_BACK],
    "1e.7": [ORDER],
    "1e.8": [PENDING],
    "1e.9": [SILENT],
    "1e.10": [FAILING],
    "1e.11": [AWAY],
    "1e.12": [SILENT_STOP, GOODBYE],
    "1e.13": [LARGE, LARGEST],
    "1e.14": [TOKEN],
    # JavaScript
    "5.1.1": [NEW_TOKEN],
    "5.1.2": [HUB + "test_several_uploads_and_plain_arguments_in_one_call", UNTOUCHED],
    "5.1.3": [
        STATEFUL + "test_a_close_message_is_not_resumed",
        STATEFUL + "test_a_silent_line_is_resumed_too",
    ],
    "5.1.4": [
        HUB + "test_stop_during_a_stalled_connect",
        STATEFUL + "test_stop_during_a_stalled_resume",
    ],
    "5.1.5": [STATEFUL + "test_a_line_that_is_closed_in_good_order_is_not_resumed"],
    "5.1.6": [
        STATEFUL + "test_a_refused_resume_becomes_an_ordinary_reconnect",
        STATEFUL + "test_senders_that_wait_are_told_when_the_connection_is_lost_for_good",
    ],
    "5.1.7": [NO_LOST_ITEM],
    "5.1.8": [SPLIT],
    "5.1.9": [HANDSHAKES],
    "5.1.10": [LIFECYCLE],
    "5.1.11": [ORDER, RESULTS],
    "5.1.12": [REASON, NO_UPGRADE],
    "5.1.13": [TOKEN_HEADER, SOURCE],
    "5.1.14": [EARLY],
    "5.1.15": [SCRIPT + "test_nothing_of_the_last_connection_is_sent_on_the_next"],
    # .NET
    "5.2.1": [GIVEN_UP],
    "5.2.2": [HUB + "test_events_that_hold_too_much_are_dropped_oldest_first"],
    "5.2.3": [HANDLERS_DIFFER],
    "5.2.4": [STATEFUL + "test_a_silent_line_is_resumed_too"],
    "5.2.5": [REASON, STATEFUL + "test_the_reason_of_a_silent_server_is_kept"],
    "5.2.6": [
        BOUNDED_STOP,
        STATEFUL + "test_senders_wait_for_acks_and_nothing_else_does",
        STATEFUL + "test_stop_with_senders_that_wait_for_acks",
    ],
    "5.2.7": [READY],
    "5.2.8": [
        RETRY + "test_what_is_a_wrong_url_or_token_at_first",
        RETRY + "test_the_default_is_spread_and_grows_without_end",
    ],
    "5.2.9": [ISOLATED, LIFECYCLE],
    "5.2.10": [CALL_BACK],
    "5.2.11": [REFRESH + "test_the_timer_of_a_lost_connection_does_not_fire"],
    # Java
    "5.3.1": [FALLBACK, CLOSE_ALLOWING],
    "5.3.2": [COOKIES],
    "5.3.3": [REDIRECT],
    "5.3.4": [SECRETS],
    "5.3.5": [HANDSHAKE + "test_a_handshake_that_comes_byte_by_byte"],
    "5.3.6": [HUB + "test_send_waits_while_the_outgoing_buffer_is_full"],
    # Swift
    "5.4.1": [CLOSE, GOODBYE, PENDING, GARBAGE],
    "5.4.2": [RESULTS],
    "5.4.3": [FROM_THE_HUB],
    "5.4.4": [GONE, IDLE_POLLS],
    "5.4.5": [HANDSHAKES, GARBAGE],
    "5.4.6": [CALL_BACK],
    "5.4.7": [HUB + "test_start_returns_when_the_handshake_is_done"],
    # Facts about servers
    "5.5.1": SERVER,
    "5.5.2": SERVER,
    "5.5.3": [NEW_TOKEN],
    "5.5.4": [WIRE + "test_there_is_one_post_at_a_time"],
}


@cache
def texts_in(path: str) -> dict[str, str]:
    """Return the text of each test function in a file, with its decorators, docstring and comments."""
    source = (ROOT / path).read_text(encoding="utf-8")
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.get_source_segment(source, node) or "" for node in functions}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_has_a_test_that_names_it_or_a_reason(name: str) -> None:
    tests = DEFECTS[name]
    assert tests
    if isinstance(tests, str):
        return
    for test in tests:
        path, _, function = test.partition("::")
        text = texts_in(path).get(function)
        assert text is not None, f"there is no {test}"
        assert re.search(rf"(?<![\w.]){re.escape(name)}(?![\w]|\.\d)", text), f"{test} does not name {name}"


def noted() -> Iterator[str]:
    """Yield the ids in the notes."""
    section = (NOTES / "python-clients.md").read_text(encoding="utf-8").partition("## 2.")[0]
    for ids in re.findall(r"^\| ([PCA]\d[^|]*) \|", section, re.MULTILINE):
        yield from ids.split("/")
    scenarios = section.partition("### 1e.")[2].partition("\n\n")[0].splitlines()[3:]
    yield from (f"1e.{number}" for number, _ in enumerate(scenarios, 1))
    section = (NOTES / "official-clients.md").read_text(encoding="utf-8").partition("## 5.")[2].partition("### 5.5")[0]
    for part in section.split("\n### ")[1:]:
        yield from (f"{part[:3]}.{number}" for number in re.findall(r"^(\d+)\. ", part, re.MULTILINE))


@pytest.mark.skipif(not NOTES.is_dir(), reason="the notes on other clients are not beside the project")
def test_the_list_is_complete() -> None:
    ids = set(noted())
    assert len(ids) > 100
    assert sorted(ids - DEFECTS.keys()) == []
