"""Backends that answer questions about what the person in a clip wears, does, and where."""
