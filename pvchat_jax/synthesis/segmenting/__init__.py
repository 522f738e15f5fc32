"""Which pixels of a video show which part of a person."""
