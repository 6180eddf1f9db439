"""Reads the script that classic servers generate for browsers (`/signalr/hubs`): hubs, methods, parameters.

Source: SignalR/SignalR, `DefaultJavaScriptProxyGenerator.cs`.
"""

from __future__ import annotations

import re
from typing import Final

_HUB: Final = re.compile(r"\.createHubProxy\('([^'\\]{1,200})'\)")
_METHOD: Final = re.compile(
    r"function \(([^()]{0,2000})\) \{\s{1,200}"
    r"return proxies\['([^'\\]{1,200})'\]\.invoke\.apply\(proxies\['[^'\\]{1,200}'\], "
    r"\$\.merge\(\[\"([^\"\\]{1,200})\"\]",
)


def read_script(script: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the hubs in a script: a dict from the name of a hub to a dict from a method to its parameters.

    Of methods with the same name, the script has only one.
    """
    hubs: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in _HUB.findall(script)}
    code = "\n".join(line for line in script.split("\n") if not line.lstrip().startswith("///"))
    for parameters, hub, method in _METHOD.findall(code):
        names = tuple(name.strip() for name in parameters.split(",") if name.strip())
        hubs.setdefault(hub, {})[method] = names
    return hubs


def missing_hubs(script: str) -> str | None:
    """Return why a server's answer has no hubs, for the text of an error; `None` if it is the script with its hubs."""
    if "createHubProx" in script:
        return None
    if "proxy generation has been disabled" in script:  # `EnableJavaScriptProxies = false`
        return "has the script with its hubs switched off"
    return "answers with something else than the script with its hubs"
