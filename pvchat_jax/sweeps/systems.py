"""Whose video a question gets instead of its own, for systems that are to answer without it."""


def donors(num_videos: int, seed: int) -> list[int]:
    """Whose video each of `num_videos` gets instead of its own, which nobody keeps; empty where there is only one."""
    if num_videos < 2:
        return []
    shift = 1 + seed % (num_videos - 1)
    return [(place + shift) % num_videos for place in range(num_videos)]
