"""The script that a classic server generates for browsers (`/signalr/hubs`): a proxy for each hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...protocols.values import camel
from .codec import CODEC
from .methods import classic_methods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hubs import ClassicHub
    from .methods import ClassicMethod

_HEAD = """\
/*!
 * ASP.NET SignalR JavaScript Library v2.4.3
 * Written by signalr_sdk.testing.ClassicHubServer.
 */
(function ($, window, undefined) {
    "use strict";

    var signalR = $.signalR;

    function follow(proxies, method) {
        $.each(proxies, function (_name, hub) {
            $.each(hub.client || {}, function (event, handler) {
                if ($.isFunction(handler)) {
                    hub[method](event, handler);
                }
            });
        });
    }

    $.hubConnection.prototype.createHubProxies = function () {
        var proxies = {};
        this.starting(function () {
            follow(proxies, "on");
            this._registerSubscribedHubs();
        }).disconnected(function () {
            follow(proxies, "off");
        });

"""
_TAIL = """\
        return proxies;
    };

    signalR.hub = $.hubConnection(%s, { useDefaultPath: false });
    $.extend(signalR, signalR.hub.createHubProxies());

}(window.jQuery, window));
"""


def hubs_script(path: str, hubs: Mapping[str, type[ClassicHub]]) -> str:
    """Return the script.

    Args:
        path: the path of the hubs.
        hubs: the hub classes by name.
    """
    return _HEAD + "".join(_proxy(name, hubs[name]) for name in sorted(hubs)) + _TAIL % _quoted(path)


def _proxy(name: str, hub: type[ClassicHub]) -> str:
    # Of several methods with the same name, a real server writes one too.
    methods = [overloads[0] for _name, overloads in sorted(classic_methods(hub).items())]
    functions = ",\n\n".join(_function(name, method) for method in methods)
    return (
        f"        proxies['{name}'] = this.createHubProxy('{name}');\n"
        f"        proxies['{name}'].client = {{ }};\n"
        f"        proxies['{name}'].server = {{\n{functions}\n        }};\n\n"
    )


def _function(hub: str, method: ClassicMethod) -> str:
    key = camel(method.name)
    if not key.isidentifier():
        key = _quoted(key)
    parameters = ", ".join(camel(parameter.name) for parameter in method.method.parameters)
    call = f"proxies['{hub}'].invoke.apply(proxies['{hub}'], $.merge([{_quoted(method.name)}], $.makeArray(arguments)))"
    return f"            {key}: function ({parameters}) {{\n                return {call};\n             }}"


def _quoted(text: str) -> str:
    return CODEC.encode_value(text).decode()
