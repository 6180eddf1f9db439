"""HTTP: the shipped clients, and what one connection sends through one."""
