"""Questions about clips, and answers that fit who is there."""
