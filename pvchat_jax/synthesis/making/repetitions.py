"""Made clips that nearly repeat an earlier one add nothing, and are dropped when those of all workers are known."""

import dataclasses
from collections.abc import Sequence

from pvchat_jax.data.near_duplicates import SeenClips
from pvchat_jax.data.records import Question
from pvchat_jax.synthesis.making.checking import CheckLimits
from pvchat_jax.synthesis.records import Clip

_Asked = tuple[str, Clip, tuple[Question, ...]]


def drop_repetitions(clips: Sequence[_Asked]) -> tuple[list[_Asked], list[Clip]]:
    """The clips that repeat none before them, and the others with the reason why they are rejected.

    Clips are compared with those of the same person alone: another person in the same scene is no repetition. Those that were cut
    from a video have no hash and are kept.
    """
    seen: dict[tuple[str, str], SeenClips] = {}
    kept, repeated = [], []
    for asked in clips:
        clip = asked[1]
        known = seen.setdefault((clip.source, clip.role), SeenClips())
        nearest = known.nearest(clip.checks["hash"]) if "hash" in clip.checks else None
        if nearest is not None and nearest[1] < CheckLimits.min_distance:
            checks = {
                **clip.checks,
                "rejected_as": "duplicate",
                "nearest_duplicate": {"clip": nearest[0], "distance": round(nearest[1], 4)},
            }
            repeated.append(dataclasses.replace(clip, checks=checks, rejected="the clip nearly repeats an earlier one of the person."))
            continue
        if "hash" in clip.checks:
            known.add(clip.name, clip.checks["hash"])
        kept.append(asked)
    return kept, repeated
