"""Every public error: what its constructor takes by position, and that it survives `pickle` and `copy`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest

from signalr_sdk import errors
from signalr_sdk.delivery import Position
from signalr_sdk.options import ConnectionState, Transport

VALUES: dict[str, Any] = {
    "message": "what happened",
    "attempts": (errors.TransportError("busy", transport=Transport.LONG_POLLING, status=500),),
    "url": "http://h/hub",
    "status": 429,
    "retry_after": 3.0,
    "transport": Transport.WEBSOCKETS,
    "reason": "the server restarts",
    "allow_reconnect": True,
    "state": ConnectionState.RECONNECTING,
    "method": "Add",
    "value": [1, "one"],
    "type": int,
    "buffered": 7,
    "dropped": 8,
    "code": "Error.Connection.NotExisted",
    "target": "anna",
    "limit": "bytes",
    "first": 3,
    "last": 5,
    "before": Position(7, "monday"),
    "after": Position(0, "tuesday"),
    "data": {"code": 7},
    "is_hub_exception": True,
    "server_trace": "at Chat.Send()",
}
CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.SignalRError)]


def comparable(error: errors.SignalRError) -> list[Any]:
    """Return all that an error holds. Errors are equal only to themselves, so inner errors become lists as well."""
    values = {field.name: getattr(error, field.name) for field in attrs.fields(type(error))}
    inner = [(type(each), comparable(each)) for each in values.pop("attempts", ())]
    return [type(error), str(error), list(values.items()), inner, error.__dict__.get("__notes__")]


def full(kind: type[errors.SignalRError]) -> errors.SignalRError:
    """Return an error with a value for each of its attributes, and a note."""
    error = kind(**{field.name: VALUES[field.name] for field in attrs.fields(kind)})
    error.add_note("seen on Monday")
    return error


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda error, p=protocol: pickle.loads(pickle.dumps(error, p)) for protocol in range(6)),
    ],
)
def test_every_error_pickles_and_copies_with_all_that_it_holds(kind: type[errors.SignalRError], again: Any) -> None:
    error = full(kind)
    copied = again(error)
    assert copied is not error
    assert comparable(copied) == comparable(error)
    assert repr(copied) == repr(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_message_and_one_more_are_positional_at_most(kind: type[errors.SignalRError]) -> None:
    positional = [field.name for field in attrs.fields(kind) if not field.kw_only]
    assert positional[0] == "message"
    assert len(positional) <= 2
    with pytest.raises(TypeError):
        kind("no", *[None] * len(positional))


class OwnError(errors.HubError):
    """What a user may derive: a constructor that takes something else."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}", "Add")
        self.code = code


def test_a_users_own_error_with_another_constructor_pickles_too() -> None:
    again = pickle.loads(pickle.dumps(OwnError(7)))
    assert (type(again), str(again), again.method, again.code) == (OwnError, "code 7", "Add", 7)
