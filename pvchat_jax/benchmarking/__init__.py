"""The cast benchmark: several subjects and seeds, every system beside the baselines that would expose a cheat, and ablations."""
