"""Times as text."""


def clock_text(seconds: float, *, milliseconds: bool = False) -> str:
    """`0:01:05` of 65 seconds, or `00:01:05.000` as WebVTT has it; times before 0 count as 0."""
    if milliseconds:
        total = max(0, round(1000 * seconds))
        return f"{total // 3_600_000:02d}:{total // 60_000 % 60:02d}:{total // 1000 % 60:02d}.{total % 1000:03d}"
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
