"""The report of `signalr doctor --json`, complete enough for a bug report, and without secrets."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import ssl
import sys
from typing import TYPE_CHECKING, Any

from ..._core import urls

if TYPE_CHECKING:
    from ..connection_options import ConnectionOptions
    from ..step_table import StepTable
    from .examination import Examination
    from .findings import Finding, Problem

_PACKAGES = ("signalr-sdk", "aiohttp", "yarl", "msgpack", "attrs", "typer", "rich", "orjson")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def report(url: str, examination: Examination, steps: StepTable) -> dict[str, Any]:
    """Return the whole report of an examination that has run."""
    return {
        "url": urls.without_query(url),
        "ok": examination.good,
        "connected": examination.connected,
        "server": examination.server or None,
        "checks": [_check(finding) for finding in examination.findings],
        "steps": steps.steps(),
        "problems": [_problem(problem) for problem in examination.problems()],
        "options": _options(examination.options),
        "limits": {"timeout": examination.limit, "keepAlive": examination.keep_alive},
        "machine": _machine(),
    }


def _check(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "mark": finding.mark,
        "said": finding.said,
        "milliseconds": round(finding.seconds * 1000, 3),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "where": problem.where,
        "mark": problem.mark,
        "said": problem.said,
        "cause": problem.advice.cause,
        "advice": problem.advice.action,
    }


def _options(options: ConnectionOptions) -> dict[str, Any]:
    """Return which options were used: of tokens, headers and proxies only that they were there."""
    given = options.arguments
    return {
        "token": given["access_token"] is not None,
        "headers": sorted(given["headers"]),
        "transports": options.transports,
        "protocol": options.protocol,
        "ca": isinstance(given["ssl"], ssl.SSLContext),
        "insecure": given["ssl"] is False,
        "proxy": given["proxy"] is not None,
    }


def _machine() -> dict[str, Any]:
    environment = {name.lower() for name in os.environ}
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": {name: _version(name) for name in _PACKAGES},
        "proxyVariables": [name for name in _PROXY_VARIABLES if name in environment],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
