"""Which of several workers does what: every piece of work has one owner, told by its key alone.

No worker has to know of the others. What a lost worker owned is done by whoever starts as that shard again, or by the run over the
whole, which finds what all shards kept and does the rest.
"""

import re
from typing import NamedTuple

from pvchat_jax.errors import UserError

_PATTERN = re.compile(r"(0|[1-9]\d*)/([1-9]\d*)")


class Shard(NamedTuple):
    """Worker `index`, from 0, of `count`."""

    index: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Whether there is no other worker."""
        return self.count == 1

    def owns(self, key: str) -> bool:
        """Whether the work with this `key`, a digest in hexadecimal digits, is this worker's; of each key one worker is the owner."""
        return int(key[:16], 16) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(0, 1)


def parse_shard(text: str) -> Shard:
    """`Shard(2, 8)` of `2/8`.

    Raises:
      UserError: the text has another form, or the index is not below the number of shards.
    """
    match = _PATTERN.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise UserError(f"--shard is '{text}'; write INDEX/COUNT with the index from 0 to COUNT - 1, such as --shard=0/8.")
    return Shard(int(match[1]), int(match[2]))
