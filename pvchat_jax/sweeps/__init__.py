"""Many evaluations at once: a grid of runs, checkpoints, questions and ways to answer, split over devices and processes."""
