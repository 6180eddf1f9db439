"""The types of options that are handed on say what the constructors take."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ForwardRef

import pytest

from signalr_sdk import HubConnection, sync
from signalr_sdk._hub.options import HubOptions
from signalr_sdk.sync.azure import SyncHubOptions

if TYPE_CHECKING:
    from collections.abc import Callable


def annotations_of(options: Any) -> dict[str, str]:
    """Return the annotation of each key, as the source has it."""
    found: dict[str, ForwardRef] = options.__annotations__
    return {name: annotation.__forward_arg__ for name, annotation in found.items()}


@pytest.mark.parametrize(("options", "taker"), [(HubOptions, HubConnection), (SyncHubOptions, sync.HubConnection)])
def test_the_options_are_those_of_the_constructor(options: Any, taker: Callable[..., object]) -> None:
    parameters = inspect.signature(taker).parameters
    expected = {name: parameter.annotation for name, parameter in parameters.items()}
    del expected["url"], expected["access_token"]
    assert annotations_of(options) == expected
