"""When people are in long videos: windows of a video, an index of their features, and intervals from what is said about them."""
