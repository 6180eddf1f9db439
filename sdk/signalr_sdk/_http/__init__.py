"""HTTP: clients over aiohttp and httpx, and the requests of a connection: negotiate, transports, token refreshes."""
