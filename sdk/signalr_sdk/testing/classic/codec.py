"""The JSON of the classic test server: attribute names of classes are written in Pascal case, as Json.NET does."""

from __future__ import annotations

from typing import Final

from ...classic.json_codec import ClassicJson

CODEC: Final = ClassicJson()
"""Encodes and decodes all messages."""
