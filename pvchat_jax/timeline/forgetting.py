"""Erasing what indices keep about a person."""

import os
from pathlib import Path

from pvchat_jax.timeline.index import INDEX_SUFFIX, Index, is_index, person_key


def erase_person(folder: Path, name: str) -> int:
    """Erases all rows about a person, however the name is spelt, from the indices in a folder and in the folders inside it.

    An index is a file `*.sqlite` that says so in its header. Features of videos stay: they are of the base and the same for everybody.
    Those of a video go when the video is deleted and its folder searched again.

    Returns:
      How many rows were erased; 0 where there is no index.

    Raises:
      IndexUnusable: an index is damaged, in use, or cannot be written.
    """
    erased = 0
    for place, _, names in os.walk(folder):
        for file in sorted(names):
            path = Path(place, file)
            if path.suffix == INDEX_SUFFIX and path.is_file() and is_index(path):
                with Index(path) as index:
                    erased += index.erase_person(person_key(name))
    return erased
