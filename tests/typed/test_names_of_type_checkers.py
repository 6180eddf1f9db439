"""Annotations whose names only type checkers know: the same errors on all versions, whether they are evaluated late
by `from __future__ import annotations` or, from Python 3.14 on, by Python itself (PEP 649)."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from signalr_sdk import HubConnection, ResultTypeError
from signalr_sdk._typed.structure import default_converter, needs_exact, structure
from signalr_sdk.protocols.values import camel
from signalr_sdk.testing import Hub, HubServer

SOURCE = """
import dataclasses
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

import attrs
from signalr_sdk.testing import Hub

if TYPE_CHECKING:
    from decimal import Decimal
    from elsewhere import Missing


@attrs.define
class Price:
    name: str
    amount: Decimal | None = None
    others: list[Missing] | None = None


@dataclasses.dataclass
class Data:
    name: str
    amount: Decimal


class Tuple(NamedTuple):
    name: str
    amount: Missing


class Typed(TypedDict):
    amount: Missing


@attrs.define
class Parent:
    price: Price


class Methods(Protocol):
    async def price(self, name: str) -> Price: ...


class Wrong(Protocol):
    async def price(self, name: Missing) -> str: ...


class Stream(Protocol):
    def prices(self) -> AsyncIterator[Missing]: ...


class Member(Protocol):
    price: Missing


class Receiver:
    def price_changed(self, price: Missing) -> None: ...


class Shop(Hub):
    async def price(self, name: Missing) -> str: ...
"""
FUTURE = "from __future__ import annotations\n"
# Before Python 3.14, the source without the first line does not even run.
SOURCES = {"future": FUTURE + SOURCE} | ({"python": SOURCE} if sys.version_info >= (3, 14) else {})


@pytest.fixture(params=SOURCES)
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = types.ModuleType(f"module_of_a_user_{request.param}")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(compile(SOURCES[request.param], made.__name__, "exec", dont_inherit=True), made.__dict__)
    return made


@pytest.mark.parametrize("name", ["Price", "Data", "Tuple", "Typed", "Parent", "list[Price]"])
def test_a_result_of_a_class_with_such_an_attribute(module: Any, name: str) -> None:
    pytest.importorskip("cattrs", reason="typed results are an extra")
    wanted = list[module.Price] if name == "list[Price]" else getattr(module, name)
    value: Any = {"name": "tea", "amount": 1, "price": {"name": "tea"}}
    value = {"Tuple": ["tea", 1], "list[Price]": [value]}.get(name, value)
    assert needs_exact(wanted) is (name in ("Price", "Data", "Parent", "list[Price]"))
    with pytest.raises(ResultTypeError, match=r"'(Decimal|Missing)'"):
        structure(default_converter(camel), value, wanted)


@pytest.mark.parametrize("name", ["Wrong", "Stream"])
def test_a_declared_method(module: Any, name: str) -> None:
    hub = HubConnection("http://127.0.0.1:9/")
    with pytest.raises(
        TypeError, match=r"prices?: its annotations cannot be looked up .*'Missing'.*only to type checkers"
    ):
        hub.proxy(getattr(module, name))
    assert hub.proxy(module.Methods) is not None


def test_a_declared_attribute(module: Any) -> None:
    with pytest.raises(TypeError, match=r"Member\.price: it is no method"):
        HubConnection("http://127.0.0.1:9/").proxy(module.Member)


def test_a_handler_of_an_object(module: Any) -> None:
    with pytest.raises(TypeError, match=r"price_changed: its annotations cannot be looked up .*'Missing'"):
        HubConnection("http://127.0.0.1:9/").register(module.Receiver())


def test_a_hub_of_the_test_server(module: Any) -> None:
    shop: type[Hub] = module.Shop
    with pytest.raises(TypeError, match=r"Shop\.price: its annotations cannot be looked up .*'Missing'"):
        HubServer({"/shop": shop})
