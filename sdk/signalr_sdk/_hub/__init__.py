"""Hubs of ASP.NET Core: what users hold, and what a live connection to one consists of."""
