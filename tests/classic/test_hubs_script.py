"""The script that classic servers generate for browsers: its hubs and methods."""

from __future__ import annotations

from signalr_sdk.classic.hubs_script import missing_hubs, read_script

# As a real server writes it
SCRIPT = """
    $.hubConnection.prototype.createHubProxies = function () {
        var proxies = {};
        this.starting(function () {
            registerHubProxies(proxies, true);
            this._registerSubscribedHubs();
        });

        proxies['quiet'] = this.createHubProxy('quiet');
        proxies['quiet'].client = { };
        proxies['quiet'].server = {
            notify: function (text, second) {
                return proxies['quiet'].invoke.apply(proxies['quiet'], $.merge(["Notify"], $.makeArray(arguments)));
             },

            one: function () {
            /// <summary>Calls the One method on the server-side quiet hub.</summary>
                return proxies['quiet'].invoke.apply(proxies['quiet'], $.merge(["One"], $.makeArray(arguments)));
             }
        };

        proxies['empty'] = this.createHubProxy('empty');
        proxies['empty'].client = { };
        proxies['empty'].server = {
        };
"""


def test_hubs_and_methods() -> None:
    assert read_script(SCRIPT) == {"quiet": {"Notify": ("text", "second"), "One": ()}, "empty": {}}
    assert missing_hubs(SCRIPT) is None


def test_a_script_without_hubs() -> None:
    text = "throw new Error('SignalR: JavaScript Hub proxy generation has been disabled.');"
    assert missing_hubs(text) == "has the script with its hubs switched off"
    assert missing_hubs("") == "answers with something else than the script with its hubs"
    assert read_script(text) == {}


def test_a_hostile_script_takes_no_time() -> None:
    assert read_script("function (" * 50_000) == {}
    assert read_script("function (a) { /*" * 20_000) == {}
