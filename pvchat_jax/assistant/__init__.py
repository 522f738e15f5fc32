"""One base, the people of a registry, and videos that were looked at: who is in them, and what they do."""
