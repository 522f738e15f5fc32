"""Backends that find faces in frames and describe them by embeddings."""
