// Microsoft's client with stateful reconnect. Prints one JSON object a line: {name, value} or {name, error}.
//
//   node stateful.cjs '{"url": ..., "protocol": "json"}'
"use strict";

const { HubConnectionBuilder, LogLevel } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");

const { url, protocol } = JSON.parse(process.argv[2]);

function say(name, value) {
    process.stdout.write(`${JSON.stringify({ name, value })}\n`);
}

async function main() {
    const builder = new HubConnectionBuilder().withUrl(url).withStatefulReconnect().configureLogging(LogLevel.None);
    const hub = (protocol === "messagepack" ? builder.withHubProtocol(new MessagePackHubProtocol()) : builder).build();
    const numbers = [];
    const ends = [];
    hub.on("Number", (number) => numbers.push(number));
    hub.onclose((error) => ends.push(String(error)));
    await hub.start();
    const first = hub.connectionId;
    const sums = [];
    for (let round = 0; round < 6; round++) {
        // The server cuts the line in the middle of each.
        await hub.invoke("Flood", round * 50, 50);
        sums.push(...(await Promise.all(Array.from({ length: 10 }, (_, i) => hub.invoke("Add", round, i)))));
    }
    say("sums", sums);
    say("numbers", numbers);
    say("same connection", hub.connectionId === first);
    say("ends", ends);
    await hub.stop();
}

main();
