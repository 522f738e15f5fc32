"""Our model run on recorded inputs, and what it gives compared with what the original gave."""
