"""Look-alikes and strangers from a corpus of other people."""
