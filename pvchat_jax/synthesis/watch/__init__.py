"""Filmed videos: shots, frames, and clips that are cut out of them."""
