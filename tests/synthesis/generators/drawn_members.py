"""A cast of drawn people, cut out with their true outlines."""

import functools

from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.cutouts import CutOut, cut_out
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video


@functools.cache
def drawn_cut(seed: int) -> CutOut:
    """The person of the reference video of a world in four frames."""
    return cut_out(video(seed)[::4], head_boxes(reference_video(seed))[::4], true_parts(seed))


def drawn_members(*seeds: int) -> dict[str, Member]:
    """The people of some worlds, all of one figure, by their number."""
    return {str(seed): Member(str(seed), "slim", reference_video(seed).scene, drawn_cut(seed)) for seed in seeds}
