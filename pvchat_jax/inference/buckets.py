"""Sizes that arrays are padded to, so that a program compiled for one request does for others."""


def bucket(size: int, *, multiple: int, per_doubling: int) -> int:
    """The smallest bucket that holds `size`: a multiple of `multiple`; from a large one to its double there are `per_doubling` (a power
    of two), so that padding adds at most about 1 / `per_doubling`.
    """
    units = -(-max(size, 1) // multiple)
    step = 1 << max((units - 1).bit_length() - per_doubling.bit_length(), 0)
    return multiple * -(-units // step) * step
