"""What a classic server keeps for its clients: topics, cursors, tokens."""

from __future__ import annotations

import pytest

from signalr_sdk.testing.classic.tokens import TokenKeys
from signalr_sdk.testing.classic.topics import MessageBus, Subscription, TopicMessage

SERVER = "0123ABCD"


def make_bus(*, size: int = 1000, linger: float = 10.0) -> MessageBus:
    return MessageBus(SERVER, size, linger)


def publish(bus: MessageBus, topic: str, *texts: str) -> None:
    for text in texts:
        bus.publish(topic, TopicMessage(text.encode()))


def subscribe(bus: MessageBus, *topics: str, cursor: str | None = None) -> Subscription:
    bus.hold(topics, 0.0)
    return bus.subscribe(topics, cursor, lambda: None)


def taken(subscription: Subscription) -> list[str]:
    return [message.data.decode() for message in subscription.take()]


def test_a_cursor_says_how_far_each_topic_was_read() -> None:
    bus = make_bus()
    subscription = subscribe(bus, "a", "b")
    assert subscription.cursor == f"d-{SERVER}-B,0|C,0"
    publish(bus, "b", *(str(number) for number in range(31)))
    publish(bus, "a", "first topic first")
    assert taken(subscription)[:2] == ["first topic first", "0"]
    assert subscription.cursor == f"d-{SERVER}-B,1|C,1F"
    assert taken(subscription) == []


def test_reading_goes_on_at_the_cursor() -> None:
    bus = make_bus()
    first = subscribe(bus, "a", "b")
    publish(bus, "a", "1")
    taken(first)
    cursor = first.cursor
    first.close()
    publish(bus, "a", "2", "3")
    publish(bus, "b", "4")
    assert taken(subscribe(bus, "a", "b", cursor=cursor)) == ["2", "3", "4"]
    # A topic that the cursor does not name is read from now on.
    bus.hold(["c"], 0.0)
    publish(bus, "c", "old")
    assert taken(subscribe(bus, "a", "c", cursor=cursor)) == ["2", "3"]


@pytest.mark.parametrize("cursor", [None, "", "garbage", "d-FFFFFFFF-B,0", f"d-{SERVER}-ZZ,0"])
def test_an_unknown_cursor_means_from_now(cursor: str | None) -> None:
    bus = make_bus()
    bus.hold(["a"], 0.0)
    publish(bus, "a", "old")
    subscription = subscribe(bus, "a", cursor=cursor)
    publish(bus, "a", "new")
    assert taken(subscription) == ["new"]


def test_a_position_above_the_count_means_from_the_beginning() -> None:
    bus = make_bus()
    bus.hold(["a"], 0.0)
    publish(bus, "a", "1")
    assert taken(subscribe(bus, "a", cursor=f"d-{SERVER}-B,9")) == ["1"]


def test_the_oldest_messages_go() -> None:
    bus = make_bus(size=2)
    subscription = subscribe(bus, "a")
    publish(bus, "a", "1", "2", "3", "4")
    assert taken(subscription) == ["3", "4"]
    assert subscription.cursor.endswith("-B,4")


def test_a_topic_without_readers_is_kept_for_a_while() -> None:
    bus = make_bus(linger=10.0)
    subscription = subscribe(bus, "a")
    assert bus.publish("a", TopicMessage(b"1"))
    cursor = subscription.cursor
    taken(subscription)
    bus.release(["a"], 100.0)
    assert not bus.publish("a", TopicMessage(b"2"))
    bus.hold(["a"], 109.0)
    assert taken(bus.subscribe(["a"], cursor, lambda: None)) == ["1", "2"]
    bus.release(["a"], 200.0)
    bus.hold(["b"], 211.0)
    assert not bus.publish("a", TopicMessage(b"3"))
    bus.hold(["a"], 212.0)
    # The topic is another one now, which the old cursor does not name.
    assert taken(bus.subscribe(["a"], cursor, lambda: None)) == []


def test_readers_are_woken() -> None:
    bus = make_bus()
    woken: list[str] = []
    bus.hold(["a", "b"], 0.0)
    one = bus.subscribe(["a"], None, lambda: woken.append("one"))
    two = bus.subscribe(["a"], None, lambda: woken.append("two"))
    publish(bus, "a", "1")
    assert woken == ["one", "two"]
    one.add("b", bus.topic("b"))
    two.close()
    publish(bus, "b", "2")
    one.remove("a")
    publish(bus, "a", "3")
    assert woken == ["one", "two", "one"]
    assert taken(one) == ["2"]
    assert one.names == {"b"}


def test_keys_of_many_topics_differ() -> None:
    bus = make_bus()
    names = [str(number) for number in range(200)]
    cursor = subscribe(bus, *names).cursor
    assert len(set(cursor.split("-")[2].split("|"))) == 200


def test_connection_tokens() -> None:
    keys = TokenKeys()
    token = keys.connection_token("id", "ann:x")
    assert keys.read_connection_token(token) == ("id", "ann:x")
    assert token != keys.connection_token("id", "ann:x")
    assert TokenKeys().read_connection_token(token) is None
    for wrong in ("", "nonsense", "é", token[:-4], token[1:], keys.groups_token("id", [])):
        assert keys.read_connection_token(wrong) is None


def test_groups_tokens() -> None:
    keys = TokenKeys()
    token = keys.groups_token("id", {"b", "a"})
    assert keys.read_groups_token(token, "id") == ["a", "b"]
    assert keys.read_groups_token(token, "other") == []
    assert keys.read_groups_token("nonsense", "id") == []
    assert TokenKeys().read_groups_token(token, "id") == []
