// Microsoft's client against a hub server. Prints one JSON object a line: {name, value} or {name, error}.
//
//   node javascript.cjs '{"urls": {"/hub": ...}, "transport": "WebSockets", "protocol": "json", "token": ...}'
//   node javascript.cjs '{"wait": true, ...}'    connects, says so, and says how the connection ended
"use strict";

const { HttpTransportType, HubConnectionBuilder, LogLevel, Subject } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");

const { urls, transport, protocol, token, wait } = JSON.parse(process.argv[2]);
const LIMIT = 20000; // milliseconds for one check on a slow machine: the others still run when one hangs
const binary = protocol === "messagepack";

// The answer to the handshake may come before the POST with the handshake is answered. The client waits for the latter
// first, so for that moment a refusal is a rejection that nobody handles, of which Node.js would die. It is handled later.
process.on("unhandledRejection", (error) => {
    if (!String(error).includes("handshake")) {
        throw error;
    }
});

// Values, the same to both protocols

const bytesOf = (value) => (typeof value === "string" ? Buffer.from(value, "base64") : Buffer.from(value));
const sentBytes = (...bytes) => (binary ? Uint8Array.from(bytes) : Buffer.from(bytes).toString("base64"));
const said = (error) => (error === undefined || error === null ? null : String(error));

function say(name, outcome) {
    process.stdout.write(`${JSON.stringify({ name, ...outcome })}\n`);
}

async function check(name, work) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("nothing happened for too long")), LIMIT);
    });
    try {
        const value = await Promise.race([work(), late]);
        say(name, { value: value === undefined ? null : value });
    } catch (error) {
        say(name, { error: String(error) });
    } finally {
        clearTimeout(timer);
    }
}

// Connections

function build(path = "/hub", options = {}) {
    const builder = new HubConnectionBuilder()
        .withUrl(urls[path], { transport: HttpTransportType[transport], ...options })
        .configureLogging(LogLevel.None);
    return (binary ? builder.withHubProtocol(new MessagePackHubProtocol()) : builder).build();
}

async function connected(path, options) {
    const connection = build(path, options);
    await connection.start();
    return connection;
}

async function using(path, options, work) {
    const connection = await connected(path, options);
    try {
        return await work(connection);
    } finally {
        await connection.stop();
    }
}

const closed = (connection) => new Promise((resolve) => connection.onclose((error) => resolve(said(error))));
const next = (connection, event) =>
    new Promise((resolve) => {
        const handler = (...values) => {
            connection.off(event, handler);
            resolve(values);
        };
        connection.on(event, handler);
    });

function collect(connection, method, ...values) {
    const items = [];
    return new Promise((resolve, reject) =>
        connection.stream(method, ...values).subscribe({
            next: (item) => items.push(item),
            complete: () => resolve(items),
            error: (error) => reject(new Error(`after ${JSON.stringify(items)}: ${error.message}`)),
        }),
    );
}

async function upload(connection, method, items, { before = [], after = [], error } = {}) {
    const subject = new Subject();
    const result = connection.invoke(method, ...before, subject, ...after);
    result.catch(() => {}); // it is looked at below, and may fail earlier
    await Promise.resolve(); // the client subscribes in a microtask
    for (const item of items) subject.next(item);
    if (error === undefined) subject.complete();
    else subject.error(new Error(error));
    return result;
}

// What is checked

async function invocations(hub) {
    const call = (method, ...values) => check(`${method} ${JSON.stringify(values)}`, () => hub.invoke(method, ...values));
    await call("Echo", 1);
    await call("Echo", { a: [1, null, "x"] });
    await call("Add", 1, 2);
    await call("add", 1, 2);
    await call("Nothing");
    await call("ReturnNull");
    await call("EchoString", "é🚀");
    await call("EchoLong", 9007199254740991);
    await call("EchoDouble", 1.5);
    await call("EchoMap", { a: 1 });
    await call("EchoNullable", null);
    await call("Transport");
    await call("ThrowHubException", "boom");
    await call("ThrowException", "boom");
    await call("Add", 1);
    await call("Add", 1, "x");
    await call("Missing");
    await call("Counter", 3);
    await check("EchoBytes", async () => bytesOf(await hub.invoke("EchoBytes", sentBytes(0, 1, 2, 255))).toString("hex"));
    await check("Length", () => hub.invoke("Length", "x".repeat(100000)));
    await check("BigString", async () => (await hub.invoke("BigString", 300000)).length);
    await check("send", async () => {
        await hub.send("Record", "sent");
        return hub.invoke("Add", 3, 4);
    });
    await check("100 at once", async () => {
        const sums = await Promise.all(Array.from({ length: 100 }, (_, i) => hub.invoke("Add", i, 1)));
        return sums.every((sum, i) => sum === i + 1);
    });
}

async function streams(hub) {
    await check("stream Counter", () => collect(hub, "Counter", 4, 0));
    await check("stream Counter, empty", () => collect(hub, "Counter", 0, 0));
    await check("stream CounterThenThrow", () => collect(hub, "CounterThenThrow", 3, "oops"));
    await check("stream Missing", () => collect(hub, "Missing"));
    await check("stream Add", () => collect(hub, "Add", 1, 2));
    await check("stream People", () => collect(hub, "People", 1));
    await check("stream Forever, cancelled", async () => {
        const first = await new Promise((resolve, reject) => {
            const subscription = hub.stream("Forever", 1).subscribe({
                next: (item) => {
                    subscription.dispose();
                    resolve(item);
                },
                complete: () => reject(new Error("it ended")),
                error: reject,
            });
        });
        return [first, await hub.invoke("Add", 1, 1)];
    });
}

async function uploads(hub) {
    await check("upload Sum", () => upload(hub, "Sum", [1, 2, 3, 4]));
    await check("upload Sum, empty", () => upload(hub, "Sum", []));
    await check("upload Sum, failing", () => upload(hub, "Sum", [1], { error: "client failed" }));
    await check("upload SumFrom", () => upload(hub, "SumFrom", [1, 2, 3, 4], { before: [10] }));
    await check("upload TakeThenThrow", () => upload(hub, "TakeThenThrow", [1, 2, 3], { after: [2] }));
    await check("both ways", async () => {
        const words = new Subject();
        const result = collect(hub, "Uppercase", words);
        await Promise.resolve();
        for (const word of ["one", "two"]) words.next(word);
        words.complete();
        return result;
    });
}

async function clientResults(hub) {
    const ask = (name, handler) =>
        check(name, async () => {
            if (handler !== undefined) hub.on("Ask", handler);
            try {
                return await hub.invoke("AskCaller", "Ask", "hi");
            } finally {
                hub.off("Ask");
            }
        });
    await ask("AskCaller", (question) => `${question}!`);
    await ask("AskCaller, later", (question) => new Promise((resolve) => setImmediate(() => resolve(`${question}?`))));
    await ask("AskCaller, null", () => null);
    await ask("AskCaller, throwing", () => {
        throw new Error("no");
    });
    await ask("AskCaller, without a handler");
    await check("AskCallerForNumber", () => {
        hub.on("Number", (a, b) => a + b);
        return hub.invoke("AskCallerForNumber", "Number", 20, 22);
    });
    await check("AskClient, not there", () => hub.invoke("AskClient", "nobody", "Ask", "hi"));
}

async function events(hub) {
    await check("CallMe", async () => {
        const event = next(hub, "Event");
        await hub.invoke("CallMe", "Event", [1, "a", null, { b: 2.5 }]);
        return event;
    });
    await check("Flood, in order", async () => {
        const numbers = [];
        hub.on("Flood", (number) => numbers.push(number));
        await hub.invoke("Flood", "Flood", 1000, 10);
        return [numbers.length, numbers.every((number, i) => number === i)];
    });
    await check("all, others, groups", () => using("/hub", {}, (other) => audiences(hub, other)));
    await check("AskClient", () =>
        using("/hub", {}, (other) => {
            other.on("Ask", (question) => `other: ${question}`);
            return hub.invoke("AskClient", other.connectionId, "Ask", "hi");
        }),
    );
}

async function audiences(hub, other) {
    const got = [];
    hub.on("Said", (text) => got.push(`hub: ${text}`));
    other.on("Said", (text) => got.push(`other: ${text}`));
    const step = async (...call) => {
        await hub.invoke(...call);
        await other.invoke("Nothing"); // what was sent to it before has come
        await hub.invoke("Nothing");
    };
    await step("SendToAll", "Said", "all");
    await step("SendToOthers", "Said", "others");
    await other.invoke("JoinGroup", "tea");
    await step("SendToGroup", "tea", "Said", "group");
    await other.invoke("LeaveGroup", "tea");
    await step("SendToGroup", "tea", "Said", "group that is left");
    return got.sort();
}

async function starts() {
    const start = (name, path, options) =>
        check(`start ${name}`, () => using(path, options, (hub) => hub.invoke("User")));
    await start("authorized", "/hub-auth", { accessTokenFactory: () => token });
    await start("unauthorized", "/hub-auth");
    await start("refused", "/hub-refusing");
    await start("with another protocol", binary ? "/hub-json-only" : "/hub-messagepack-only");
    await check("headers", () => {
        const headers = { "X-Stranger": "tea" };
        return using("/hub", { headers }, (hub) => hub.invoke("Header", "X-Stranger"));
    });
    await check("plain errors", () => using("/hub-plain-errors", {}, (hub) => hub.invoke("ThrowException", "secret")));
    await check("plain errors, HubException", () =>
        using("/hub-plain-errors", {}, (hub) => hub.invoke("ThrowHubException", "shown")),
    );
    await check("too large a message", async () => {
        const hub = await connected("/hub-small-messages");
        const end = closed(hub);
        await hub.invoke("Length", "x".repeat(5000)).catch(() => {});
        return end;
    });
}

async function ends(hub) {
    await check("AbortMe", async () => {
        const aborted = await connected("/hub");
        const end = closed(aborted);
        const call = await aborted.invoke("AbortMe").then(() => "answered", said);
        return { call, end: await end, state: aborted.state };
    });
    await check("stop", async () => {
        const end = closed(hub);
        const pending = collect(hub, "Forever", 1000).then(() => "answered", said);
        await hub.invoke("Nothing");
        await hub.stop();
        return { pending: await pending, end: await end, state: hub.state };
    });
    await check("a call after stop", () => hub.invoke("Nothing"));
    await check("start again", async () => {
        await hub.start();
        const sum = await hub.invoke("Add", 1, 2);
        await hub.stop();
        return sum;
    });
}

async function all() {
    const hub = await connected("/hub");
    say("connection", { value: hub.connectionId });
    for (const part of [invocations, streams, uploads, clientResults, events, starts, ends]) await part(hub);
}

async function untilClosed() {
    const hub = build("/hub");
    const end = closed(hub);
    await hub.start();
    say("connected", { value: await hub.invoke("Add", 1, 2) });
    say("closed", { value: await end });
}

(wait ? untilClosed() : all()).then(
    () => process.exit(0),
    (error) => {
        process.stderr.write(`${error.stack}\n`);
        process.exit(1);
    },
);
