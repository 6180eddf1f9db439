"""`TypedValues`: converts results, items and arguments to the types that users ask for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from ..interfaces import Converter
    from ..protocols.values import Naming


class TypedValues:
    """Converts decoded values to typed objects. The modules for this are imported at the first use.

    Args:
        converter: the user's converter; `None` for cattrs.
        naming: how the protocol writes the attribute names of classes.
    """

    def __init__(self, converter: Converter | None, naming: Naming) -> None:
        self._converter = converter
        self._naming = naming
        self._typed: tuple[ModuleType, Converter] | None = None

    async def needs_exact(self, type_: Any) -> bool:
        """Return whether `Decimal` is in a result type or item type: numbers must then be decoded with all digits."""
        if self._typed is None:
            # Import `_typed.structure` in a thread: the first import would block the event loop for many milliseconds.
            await asyncio.to_thread(self._load)
        return bool(self._load()[0].needs_exact(type_))

    def convert(self, type_: Any, value: Any) -> Any:
        """Convert a value to a type.

        Raises:
            ResultTypeError: the value does not fit the type.
        """
        typed, converter = self._load()
        return typed.structure(converter, value, type_)

    @property
    def converter(self) -> Converter:
        """The converter. Raises a `LocalProtocolError` if cattrs is not installed."""
        return self._load()[1]

    def _load(self) -> tuple[ModuleType, Converter]:
        """Return a tuple: the module `_typed.structure` (imported by the first call) and the converter."""
        if self._typed is None:
            # Import at the first use, so that `import signalr_sdk` is fast.
            from .._typed import structure

            self._typed = structure, self._converter or structure.default_converter(self._naming)
        return self._typed
