"""A lab of real networks: client and server in network namespaces, and a bad link between them. See README.md."""
