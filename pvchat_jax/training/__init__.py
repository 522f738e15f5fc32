"""Training: what trains, how it is updated, and the loop around it."""
