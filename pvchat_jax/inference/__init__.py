"""Answers about videos: the video computed once, prompts in batches, tokens by a compiled loop over a preallocated cache."""
