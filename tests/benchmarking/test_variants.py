"""Every variant is a valid configuration that differs from the default where it says."""

import pytest

from configs import ablations
from pvchat_jax.benchmarking.ablation import run_ablations
from pvchat_jax.benchmarking.variants import DEFAULT, QUESTIONS, VARIANTS, variant
from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.flags import flatten, override
from pvchat_jax.errors import UserError

DEFAULT_CONFIG = ablations.tiny().benchmark.personalise


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_variant_changes_what_it_lists_and_nothing_else(name: str) -> None:
    changed = variant(DEFAULT_CONFIG, name)
    assert isinstance(changed, DrawnPersonConfig)
    before, after = flatten(DEFAULT_CONFIG), flatten(changed)
    differing = {setting for setting in before if before[setting] != after[setting]}
    listed = {change.partition("=")[0] for change in VARIANTS[name]}
    assert differing <= listed
    assert (name == DEFAULT) == (not differing)


def test_every_variant_belongs_to_a_question_with_the_default() -> None:
    assert {name for names in QUESTIONS.values() for name in names} == set(VARIANTS)
    assert all(DEFAULT in names for names in QUESTIONS.values())


def test_an_unknown_variant_is_refused_before_anything_runs() -> None:
    config = override(ablations.tiny(), ["--config.only=plain,plane"])
    with pytest.raises(UserError, match="no variant plane; choose from default, plain"):
        run_ablations(config, None)
