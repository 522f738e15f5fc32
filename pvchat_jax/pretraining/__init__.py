"""Training of the tiny base model: it sees and describes drawn people before it meets anybody in particular."""
