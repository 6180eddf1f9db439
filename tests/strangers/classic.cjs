// Microsoft's client for classic ASP.NET SignalR against a classic server. Prints one JSON object a line: {what, result}.
//
//   node classic.cjs http://127.0.0.1:PORT http://127.0.0.1:CONTROL_PORT webSockets
"use strict";

const fs = require("fs");
const http = require("http");
const { JSDOM } = require("jsdom");
const NodeEventSource = require("eventsource");

const [, , server, control, transport] = process.argv;
const LIMIT = 30000; // milliseconds for a call on a slow machine; the client itself knows no limit
const UNANSWERED = 1500; // milliseconds for a call that no server answers
const SOON = 300; // milliseconds within which events arrive that are on their way

// A browser, as far as the client looks

const dom = new JSDOM("<!doctype html>", { url: `${server}/`, runScripts: "outside-only", pretendToBeVisual: true });
const window = dom.window;
global.window = window;
global.document = window.document;
window.WebSocket = require("ws");
window.EventSource = class extends NodeEventSource {
    constructor(...values) {
        super(...values);
        this.reconnectInterval = 5000; // as in browsers: the client is quicker, 2 s after the loss
    }

    // In browsers, an event that is being handled has the eventPhase 2, which the client takes for EventSource.CLOSED.
    addEventListener(type, listener) {
        const handler = (event) => listener.call(this, Object.defineProperty(event, "eventPhase", { value: 2 }));
        super.addEventListener(type, type === "error" ? handler : listener);
    }
};
const $ = require("jquery");
window.jQuery = window.$ = $;
$.support.cors = true;
window.eval(fs.readFileSync(require.resolve("signalr/jquery.signalR.js"), "utf8"));

// Tools

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const settled = (deferred) => new Promise((resolve, reject) => deferred.done(resolve).fail(reject));
const taken = (list) => list.splice(0, list.length);
const short = (value) => (typeof value === "string" && value.length > 200 ? `${value.length} characters` : value);

function say(what, result) {
    process.stdout.write(`${JSON.stringify({ what, result })}\n`);
}

async function until(condition) {
    for (const end = Date.now() + LIMIT; !condition(); ) {
        if (Date.now() > end) {
            say("nothing came for too long", String(condition));
            return;
        }
        await sleep(20);
    }
}

async function outcome(deferred, limit = LIMIT) {
    const answer = settled(deferred).then(
        // The client gives `undefined` for a call without a result, and `null` for null: Python has None for both.
        (result) => (result === undefined ? null : short(result)),
        (error) => ({ error: error.message, source: error.source?.status ?? error.source, data: error.data }),
    );
    return Promise.race([answer, sleep(limit).then(() => "no answer")]);
}

function post(path, body = "") {
    return new Promise((resolve, reject) => {
        const request = http.request(control + path, { method: "POST" }, (answer) => {
            let text = "";
            answer.on("data", (piece) => (text += piece));
            answer.on("end", () => resolve(JSON.parse(text)));
        });
        request.on("error", reject);
        request.end(JSON.stringify(body));
    });
}

function get(path) {
    return new Promise((resolve, reject) => {
        const request = http.get(server + path, (answer) => {
            let text = "";
            answer.on("data", (piece) => (text += piece));
            answer.on("end", () => resolve(text));
        });
        request.on("error", reject);
    });
}

// The connection

const events = [];
const lifecycle = [];
const connection = $.hubConnection(`${server}/signalr`, { useDefaultPath: false });
const hub = connection.createHubProxy("testHub");
const other = connection.createHubProxy("other");

function listen() {
    for (const name of ["welcome", "welcomeBack"]) {
        hub.on(name, (id) => events.push([name, id === connection.id]));
    }
    for (const name of ["broadcast", "number", "groupMessage"]) {
        hub.on(name, (...values) => events.push([name, ...values]));
    }
    hub.on("joined", (_id, group) => events.push(["joined", group]));
    hub.on("stateful", (text) => events.push(["stateful", text, hub.state.colour]));
    other.on("note", (text) => events.push(["other.note", text]));
    for (const name of ["starting", "reconnecting", "reconnected", "disconnected"]) {
        connection[name](() => lifecycle.push(name));
    }
    connection.error((error) => lifecycle.push(`error: ${error.message}`));
}

async function call(method, ...values) {
    await callOn(hub, method, values);
}

async function callOn(proxy, method, values, limit = LIMIT) {
    const shown = values.map((value) => short(value));
    const what = `${proxy === other ? "other." : ""}${method} ${JSON.stringify(shown)}`;
    try {
        say(what, await outcome(proxy.invoke(method, ...values), limit));
    } catch (error) {
        say(what, `raised at once: ${error.message}`);
    }
}

// What is tried

async function calls() {
    for (const value of [null, true, 0, -1.5, 'é☃\u{1f680} "\\\n<b>&+%', [], {}, { K: { k: [1] } }]) {
        await call("Echo", value);
    }
    await call("Add", 1, 2);
    await call("aDD", 4, 5);
    await call("Overload", "a");
    await call("Overload", "a", "b");
    await call("Nothing");
    await call("Nul");
    await call("re-named");
    await call("Transport");
    await callOn(other, "Echo", ["x"]);
    await call("Aged", { name: "Ann", age: 41 });
    await call("Tomorrow", new Date(Date.UTC(2026, 1, 3, 4, 5, 6, 789)));
    await call("Half", 10.5);
    await call("Twice", "1.02:00:03");
    await call("Reverse", "YWJj");
    await call("Next", 1);
}

async function errors() {
    for (const method of ["Boom", "HubBoom", "HubBoomPlain", "NoSuch", "Secret"]) {
        await call(method);
    }
    await call("Add", "x");
    await call("Add", 1, 2, 3);
    await call("Optional", 1);
}

async function progress() {
    const seen = [];
    const work = hub.invoke("Work", 5);
    work.progress((value) => seen.push(value));
    say("Work", await settled(work));
    // Over HTTP, the result may overtake progress, which the client then ignores.
    say("progress of Work", transport === "webSockets" ? seen : "not told");
}

async function state() {
    await call("State");
    await call("State");
    hub.state.counter = 40;
    await call("State");
    hub.state.name = "joe";
    await call("ReadName");
    await call("StateByCall");
    say("state", { ...hub.state });
}

async function eventsAndGroups() {
    await until(() => events.length >= 2);
    say("events so far", taken(events));
    await call("BroadcastAll", "hi");
    await callOn(other, "Notify", ["n"]);
    await call("CallBack", "NUMBER", [7]);
    await call("CallBack", "unheard", [7]);
    await call("Sequence", 0, 5);
    await until(() => events.length >= 8);
    say("events", taken(events));
    await call("Join", "g");
    await until(() => events.length >= 1);
    say("groups token after joining", !!connection.groupsToken);
    await call("ToGroup", "g", "in");
    await until(() => events.length >= 2);
    say("events of groups", taken(events));
}

// The wire is cut. What is sent meanwhile must come once and in order.
async function reconnect(how) {
    taken(lifecycle);
    const first = connection.id;
    const pending = outcome(hub.invoke("Slow", 600));
    await sleep(SOON);
    while ((await post(`/drop?how=${how}&transport=${transport}`)) === 0) {
        await sleep(20);
    }
    for (let number = 1; number <= 5; number++) {
        await post("/broadcast?method=number", [number]);
    }
    await post("/broadcast?method=groupMessage&group=g", ["g", "away"]);
    say(`a call while the wire is cut by ${how}`, await pending);
    const back = transport === "longPolling" && how === "close" ? 6 : 7;
    await until(() => events.length >= back && connection.state === $.signalR.connectionState.connected);
    await sleep(SOON);
    say(`events after ${how}`, taken(events));
    say(`life after ${how}`, { same: first === connection.id, lifecycle: taken(lifecycle) });
    await call("Add", 1, 2);
}

async function largeAndUnwritable() {
    const connected = () => connection.state === $.signalR.connectionState.connected;
    await call("Big", 300000);
    await call("Length", "x".repeat(60000));
    await call("Length", "x".repeat(200000));
    await sleep(SOON);
    await until(connected);
    // Over HTTP, nothing tells the client that no answer will come.
    await callOn(hub, "Circle", [], transport === "webSockets" ? LIMIT : UNANSWERED);
    await sleep(SOON);
    await until(connected);
    say("life after both", taken(lifecycle));
}

// The proxies of the script that the server generates for browsers.
async function generatedProxies() {
    // Microsoft's server writes a name like `re-named` without quotation marks, which is no JavaScript.
    const script = (await get("/signalr/hubs")).replace(/^( +)(\w+-\w+): function/gm, '$1"$2": function');
    window.eval(script);
    const { hub: generated, testHub } = $.connection;
    const seen = [];
    testHub.client.broadcast = (...values) => seen.push(values);
    await settled(generated.start({ transport }));
    say("generated echo", await outcome(testHub.server.echo("é☃")));
    say("generated re-named", await outcome(testHub.server["re-named"]()));
    await testHub.server.broadcastAll("to all");
    await until(() => seen.length >= 1);
    say("generated events", seen);
    generated.stop();
}

async function otherStarts() {
    for (const path of ["/redirect", "/twice", "/error", "/core", "/ancient", "/nothing"]) {
        await startAt(server + path, "testHub", "User");
    }
    await startAt(`${server}/signalr`, "nohub", "User");
    await startAt(`${server}/signalr`, "secret", "Who");
    const raw = $.connection(`${server}/raw`);
    const received = [];
    raw.received((value) => received.push(JSON.parse(JSON.stringify(value).replace(raw.id, "ID"))));
    await settled(raw.start({ transport }));
    raw.send("plain ☃");
    await until(() => received.length >= 2);
    raw.send({ a: [1] });
    await until(() => received.length >= 3);
    raw.stop();
    say("raw connection", received);
}

async function startAt(url, name, method) {
    const another = $.hubConnection(url, { useDefaultPath: false });
    const proxy = another.createHubProxy(name);
    proxy.on("anything", () => {}); // the client asks for hubs with a handler only
    const result = await outcome(another.start({ transport }).then(() => proxy.invoke(method)));
    another.stop();
    say(`start ${new URL(url).pathname} ${name}`, result);
}

async function main() {
    listen();
    await settled(connection.start({ transport }));
    say("start", { transport: connection.transport.name, groupsToken: !!connection.groupsToken });
    for (const part of [calls, errors, progress, state, eventsAndGroups]) {
        await part();
    }
    // jsdom does not notice that the TCP connection of a poll has ended, until the poll's own limit.
    for (const how of transport === "longPolling" ? ["reset", "close"] : ["reset", "fin", "close"]) {
        await reconnect(how);
    }
    await largeAndUnwritable();
    connection.stop();
    await until(() => lifecycle.length >= 1);
    say("stop", taken(lifecycle));
    await call("Add", 1, 2);
    await generatedProxies();
    await otherStarts();
}

main().then(
    () => process.exit(0),
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
