"""The transports: WebSockets, Server-Sent Events and long polling, each an `ActiveTransport`."""
