// Microsoft's client: connects, says its connection id, and prints each event as JSON until it is closed.
// node azure_client.cjs URL json|messagepack

"use strict";

const { HubConnectionBuilder, LogLevel } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function main(url, protocol) {
    const builder = new HubConnectionBuilder().withUrl(url).configureLogging(LogLevel.None);
    if (protocol === "messagepack") {
        builder.withHubProtocol(new MessagePackHubProtocol());
    }
    const hub = builder.build();
    hub.on("ReceiveMessage", (...args) => say({ event: args }));
    hub.on("Double", (n) => 2 * n);
    hub.onclose((error) => say({ closed: String(error && error.message) }));
    await hub.start();
    say({ user: await hub.invoke("User") });
    say({ id: hub.connectionId });
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error);
    process.exit(1);
});
