"""Consent, whose everything is, and forgetting."""
