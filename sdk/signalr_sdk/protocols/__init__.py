"""The hub protocols: how hub messages become bytes."""

from __future__ import annotations

from .json_protocol import JsonProtocol
from .messagepack_protocol import MessagePackProtocol

__all__ = ["JsonProtocol", "MessagePackProtocol"]
