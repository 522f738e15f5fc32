"""The variants of the method that the ablations compare, and the questions that the comparisons answer."""

from collections.abc import Mapping, Sequence

from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.flags import override

DEFAULT = "default"


def _both(*settings: str) -> tuple[str, ...]:
    """Settings of both stages."""
    return tuple(f"{stage}.{setting}" for setting in settings for stage in ("stage1", "stage2"))


def _lora(rank: int) -> tuple[str, ...]:
    # alpha grows with the rank, so that the scale of the adapters stays the same
    return _both(f"model.language_model.lora.rank={rank}", f"model.language_model.lora.alpha={2.0 * rank}")


# Changes of `DrawnPersonConfig` by name of the variant.
VARIANTS: Mapping[str, Sequence[str]] = {
    DEFAULT: (),
    "plain": _both("model.qformer.remoh.start_layer=99"),
    "softmax": _both(
        "model.qformer.remoh.router=softmax", "objective.spr_weight=0.0", "objective.hae_mode=off", "objective.load_balance_weight=0.005"
    ),
    "no_spr": _both("objective.spr_weight=0.0"),
    "no_hae": _both("objective.hae_mode=off"),
    "no_spr_no_hae": _both("objective.spr_weight=0.0", "objective.hae_mode=off"),
    "hae_without_gradient": _both("objective.hae_mode=reference"),
    "reference_init": _both("model.qformer.remoh.init=reference"),
    "with_stage1": ("with_stage1=True",),
    "one_positive": ("clip_set=one_positive",),
    "negatives": ("clip_set=negatives",),
    "synthetic_positives": ("clip_set=synthetic_positives",),
    "other_look_alikes": ("clip_set=other_look_alikes",),
    **{f"tokens_{count}": _both(f"model.qformer.num_subject_tokens={count}") for count in (0, 4, 16, 32)},
    **{f"lora_{rank}": _lora(rank) for rank in (0, 2, 8)},
}

# Variants by question, in the order in which a table should show them.
QUESTIONS: Mapping[str, Sequence[str]] = {
    "Which router: none, softmax (MoH) or ReLU (ReMoH)?": ("plain", "softmax", DEFAULT),
    "Are SPR and HAE needed?": ("no_spr_no_hae", "no_spr", "no_hae", DEFAULT),
    "HAE without or with a gradient?": ("no_hae", "hae_without_gradient", DEFAULT),
    "Routers that start at zero (reference) or as the identity?": ("reference_init", DEFAULT),
    "Is stage 1 needed?": (DEFAULT, "with_stage1"),
    "One positive, plus negatives, plus synthetic positives, plus look-alikes (first without those whom tests may show)?": (
        "one_positive",
        "negatives",
        "synthetic_positives",
        "other_look_alikes",
        DEFAULT,
    ),
    "How many subject tokens (default 8)?": ("tokens_0", "tokens_4", DEFAULT, "tokens_16", "tokens_32"),
    "Which LoRA rank (default 32)?": ("lora_0", "lora_2", "lora_8", DEFAULT),
}


def variant(default: DrawnPersonConfig, name: str) -> DrawnPersonConfig:
    """The configuration of a variant."""
    return override(default, [f"--config.{change}" for change in VARIANTS[name]])
