"""HTTP: the clients that can be used, and the requests that one connection sends through one of them."""
