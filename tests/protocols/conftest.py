"""Both JSON codecs: the standard library's, and orjson where it is installed."""

from __future__ import annotations

import pytest

from signalr_sdk.protocols import JsonProtocol
from signalr_sdk.protocols.json_values import JsonBackend, OrjsonBackend, StandardBackend


@pytest.fixture(params=["orjson", "standard"])
def json_backend(request: pytest.FixtureRequest) -> JsonBackend:
    if request.param == "standard":
        return StandardBackend()
    return OrjsonBackend(pytest.importorskip("orjson", reason="orjson is an extra"))


@pytest.fixture
def json_protocol(json_backend: JsonBackend) -> JsonProtocol:
    return JsonProtocol(_backend=json_backend)
