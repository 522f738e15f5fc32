"""Answers to questions about test videos, how they are scored, and the report that shows them."""
