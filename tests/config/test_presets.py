"""What the shipped configurations promise."""

import pytest

from configs import stage1, stage2
from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.models.config import LORA_TARGETS

PRESETS = ("8b", "tiny", "reference")


@pytest.mark.parametrize("preset", PRESETS)
def test_stage_2_goes_on_from_stage_1_with_all_questions_on_video(preset):
    first, second = stage1.get_config(preset), stage2.get_config(preset)
    assert (first.stage, second.stage) == (1, 2)
    assert first.data.num_frames == 1 < second.data.num_frames <= second.model.vision.num_frames
    assert first.data.question_types == ("existence", "appearance")
    assert second.data.question_types == QUESTION_TYPES
    assert second.init_from == first.output_dir != second.output_dir
    assert (first.model, first.weights, first.data.subject, first.data.tokenizer) == (
        second.model,
        second.weights,
        second.data.subject,
        second.data.tokenizer,
    )


@pytest.mark.parametrize("module", [stage1, stage2])
def test_8b_is_the_default_and_keeps_its_base_frozen_in_bfloat16(module):
    config = module.get_config()
    assert config == module.get_config("8b")
    assert (config.compute_dtype, config.frozen_dtype, config.optimizer.base) == ("bfloat16", "bfloat16", 0)
    assert config.weights == "weights/8b"


@pytest.mark.parametrize("module", [stage1, stage2])
def test_reference_trains_as_the_original_did(module):
    config = module.get_config("reference")
    optimizer = config.optimizer
    rates = {group: rate for group, rate in optimizer.learning_rates.items() if rate}
    assert rates == {"subject_tokens": 1e-4, "qformer": 1e-5, "router": 1e-6, "lora": 1e-5}  # the name's row has no gradient there
    assert (optimizer.schedule, optimizer.warmup_steps, optimizer.clip_norm, optimizer.weight_decay) == ("constant", 0, 0, 0.01)
    assert (config.data.batch_size, config.data.questions_per_video, config.data.prompt_style) == (2, 1, "reference")
    assert not config.data.balance_presence
    assert config.objective.hae_mode == config.model.qformer.remoh.init == "reference"
    assert config.model.language_model.lora.targets == LORA_TARGETS[:-1]  # lm_head's adapter does not survive there


@pytest.mark.parametrize("module", [stage1, stage2])
def test_tiny_needs_nothing_but_records(module):
    config = module.get_config("tiny")
    assert (config.weights, config.data.tokenizer, config.data.num_workers) == ("tiny", "tiny", 0)
    # The packaged encoder stays as it is, so that its features can be stored.
    assert config.data.cache_features and config.optimizer.vision_upper == config.optimizer.base == 0
