"""Each score of answers in one place: its definition, its interval, and how two runs are compared by it."""
