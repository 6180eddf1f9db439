"""Typed calls: classes declare hub methods and handlers, and results are converted to the types of the user."""
