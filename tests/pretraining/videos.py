"""Videos for tests of pretraining."""

import dataclasses

from pvchat_jax.world.plan import VideoPlan, plan_base_video
from pvchat_jax.world.staging import stage


def first_base_video(*, with_bystander: bool, blurred: bool = False) -> VideoPlan:
    """The first base video of its kind."""
    plans = (plan_base_video(0, index) for index in range(200))
    return next(plan for plan in plans if bool(plan.bystander) == with_bystander and (stage(plan).num_exposures > 1) == blurred)


def walking(plan: VideoPlan) -> VideoPlan:
    """The same person walking across."""
    return dataclasses.replace(plan, person=dataclasses.replace(plan.person, action="walk left", position=None))
