"""Backends that make new clips of a person."""
