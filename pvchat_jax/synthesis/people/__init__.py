"""Who is in a video, how well they are seen, and who appears in which role."""
