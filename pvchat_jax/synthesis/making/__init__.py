"""Clips that are made, until they pass their checks."""
