"""The hub protocols of this package: they encode hub messages as JSON or MessagePack, and decode them."""

from __future__ import annotations

from .json_protocol import JsonProtocol
from .messagepack_protocol import MessagePackProtocol

__all__ = ["JsonProtocol", "MessagePackProtocol"]
