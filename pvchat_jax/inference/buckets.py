"""Sizes that arrays are padded to, so that a program compiled for one request does for others."""


def bucket(size: int, least: int = 1) -> int:
    """The smallest of `least` x (1, 2, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...) that holds `size`; from 4 x `least` on, less than a
    quarter of it is padding."""
    units = -(-max(size, 1) // least)
    if units <= 4:
        return least * (1, 2, 4, 4)[units - 1]
    step = 1 << ((units - 1).bit_length() - 3)  # four sizes from each power of two to the next
    return least * -(-units // step) * step
