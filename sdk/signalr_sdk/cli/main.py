"""The command `signalr` as a module, for `python -m signalr_sdk.cli.main`."""

from __future__ import annotations

import sys

from signalr_sdk_cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
