"""Which filmed video is for what, decided before anything is made of it, so that no clip can cross over.

| split | what it is for | what is in it |
|---|---|---|
| train | learning | the one video, other people, and what generators make of them |
| calibration | the threshold between yes and no | generated clips, of other people who are not in train where there are enough |
| test | saying how good it is | filmed clips alone, of videos of which nothing else was made |
"""

import math
from collections.abc import Iterable, Sequence

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.exporting.training_set import UsedClip
from pvchat_jax.synthesis.records import Source
from pvchat_jax.synthesis.stages import digest_of

SPLITS = ("train", "calibration", "test")
FILMED = ("real", "retrieved")  # origins of clips that no program made


def split_others(digests: Iterable[str], *, calibration_share: float, test_share: float, seed: int) -> dict[str, str]:
    """The split of each video of other people, by the digest of the video.

    Which goes where follows from the digests and the seed alone. Shares are rounded down, so that a single video is for training.
    """
    ordered = sorted(set(digests), key=lambda digest: digest_of([seed, digest]))
    num_test, num_calibration = (math.floor(len(ordered) * share) for share in (test_share, calibration_share))
    bounds = {"test": num_test, "calibration": num_test + num_calibration, "train": len(ordered)}
    return {digest: next(name for name, end in bounds.items() if index < end) for index, digest in enumerate(ordered)}


def require_other_videos(reference: Source, tests: Sequence[Source]) -> None:
    """Refuses a test video with the content of the one video.

    Raises:
      UserError: it has.
    """
    for test in tests:
        if test.sha256 == reference.sha256:
            raise UserError(f"{test.video} has the content of {reference.video}, which is trained on; give another --test_video.")


def find_crossings(used: Sequence[UsedClip]) -> list[str]:
    """What a test set must not have, one sentence each: clips that were made, sources that train or calibration know."""
    known = {item.clip.source for item in used if item.split != "test"}
    found = []
    for item in used:
        if item.split == "test" and item.clip.origin not in FILMED:
            found.append(f"{item.clip.name} is in the test set, but its origin is '{item.clip.origin}', which is not filmed")
        if item.split == "test" and item.clip.source in known:
            found.append(f"{item.clip.name} is in the test set, but its source was trained on as well")
    return found
