"""From the client to the hub: calls, uploads, and the buffer that they leave by."""
