"""Sizes that arrays are padded to, so that a program compiled for one request does for others."""


def bucket(size: int, *, multiple: int, per_doubling: int) -> int:
    """The smallest bucket that holds `size`: multiples of `multiple`, and `per_doubling` (a power of two) of them from a size to its double.

    So no more than about 1 / `per_doubling` of a large bucket is padding.
    """
    units = -(-max(size, 1) // multiple)
    step = 1 << max((units - 1).bit_length() - per_doubling.bit_length(), 0)
    return multiple * -(-units // step) * step
