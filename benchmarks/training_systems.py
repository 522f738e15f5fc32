"""What `training_speed.py` compares: ways to train on the same questions and answers, and the sizes of model to do it at."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from configs import stage2
from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data.conversation import answer_positions
from pvchat_jax.models.config import EIGHT_B, LoRAConfig, PVChatConfig, ReMoHConfig
from pvchat_jax.objectives.language_modelling import IGNORED_LABEL
from pvchat_jax.planning.flops import Flops, Shapes, count_flops, step_shapes

# Tokens of a row: text before the visual tokens, which all questions share; visual tokens; and the question with its answer.
TEXT_BEFORE, OWN, ANSWER = 20, 48, 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """A way to train on the questions about one video.

    Attributes:
      shared_video: the questions are rows of one video, which is encoded once; otherwise each brings a copy of the video.
      common_prefix: the language model computes what these rows have in common once, which needs `shared_video`.
      cached_features: the vision encoder's output is part of the batch.
      answer_logits: logits at the positions that learn, not everywhere.
    """

    title: str
    shared_video: bool = False
    common_prefix: bool = False
    cached_features: bool = False
    answer_logits: bool = False


SYSTEMS = {
    "reference": System(title="one question per sequence, encoder every time, all logits"),
    "answer-logits": System(title="logits of the answer alone", answer_logits=True),
    "cached": System(title="cached features alone", cached_features=True),
    "shared": System(title="shared video alone", shared_video=True),
    "prefix": System(title="shared video and common prefix", shared_video=True, common_prefix=True),
    "all": System(title="all", shared_video=True, common_prefix=True, cached_features=True, answer_logits=True),
}

# The 8B model's proportions at about 1/1500 of its operations: the same tokens in a row of text, the same shares of the parts
# (`flop_shares`), and within the vision encoder and the adapters about the same share of attention and of low-rank products.
MID = PVChatConfig(
    name="mid",
    vision=dataclasses.replace(EIGHT_B.vision, image_size=56, patch_size=8, width=256, depth=5, num_heads=4, mlp_width=1120),
    qformer=dataclasses.replace(
        EIGHT_B.qformer,
        width=48,
        num_layers=2,
        num_heads=6,
        mlp_width=192,
        vocab_size=64,
        max_text_length=32,
        remoh=ReMoHConfig(start_layer=1, num_shared_heads=4),
    ),
    language_model=dataclasses.replace(
        EIGHT_B.language_model,
        vocab_size=192,
        width=384,
        mlp_width=1344,
        num_layers=2,
        num_heads=4,
        num_kv_heads=1,
        head_dim=96,
        lora=LoRAConfig(rank=2, alpha=4.0),
    ),
    remat_policy="none",
)


def eight_b() -> TrainConfig:
    """Stage 2 of the 8B model, with nothing computed twice: on a GPU of 141 GB that is not needed."""
    config = stage2.get_config("8b")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, remat_policy="none"))


def mid() -> TrainConfig:
    """The same for `MID`, in float32, which processors without an accelerator compute faster than bfloat16."""
    config = eight_b()
    data = dataclasses.replace(config.data, image_size=MID.vision.image_size)
    return dataclasses.replace(config, model=MID, data=data, compute_dtype="float32", frozen_dtype="float32")


SIZES = {"mid": mid, "8b": eight_b}


def configure(size: TrainConfig, system: System, videos: int, questions: int) -> TrainConfig:
    """`size` with the batch of a system: one video with all its questions, or a copy of it for each question."""
    rows = {"batch_size": videos, "questions_per_video": questions}
    if not system.shared_video:
        rows = {"batch_size": videos * questions, "questions_per_video": 1}
    data = dataclasses.replace(size.data, cache_features=system.cached_features, **rows)
    return dataclasses.replace(size, data=data)


def prefix_of(data: DataConfig, model: PVChatConfig) -> int:
    """Tokens that all questions about a video have in common."""
    return TEXT_BEFORE + data.num_clips * model.qformer.num_visual_tokens


def learnt_prefix(config: TrainConfig, system: System) -> int:
    """`prefix_length` of a system's model."""
    return prefix_of(config.data, config.model) if system.common_prefix else 0


def random_questions(size: TrainConfig, videos: int, questions: int) -> dict[str, np.ndarray]:
    """`videos` and `questions` about each, to be arranged for a system: video float32[B, N, T, H, W, 3] and features
    float16[B, N, L, D] (random as well, not those of the video); input_ids, attention_mask, labels, video_mask [B, K, S]."""
    random, data, vision = np.random.default_rng(0), size.data, size.model.vision
    prefix = prefix_of(data, size.model)
    length = prefix + OWN
    ids = random.integers(0, size.model.language_model.vocab_size, (videos, questions, length), np.int32)
    ids[..., :prefix] = ids[:, :1, :prefix]
    labels = ids.copy()
    labels[..., : length - ANSWER] = IGNORED_LABEL
    position = np.arange(length)
    tokens = 1 + data.num_frames // vision.tubelet_size * vision.grid_size**2
    frames = (videos, data.num_clips, data.num_frames, data.image_size, data.image_size, 3)
    return {
        "video": random.standard_normal(frames, np.float32),
        "features": random.standard_normal((videos, data.num_clips, tokens, vision.width), np.float32).astype(np.float16),
        "input_ids": ids,
        "attention_mask": np.ones(ids.shape, np.bool_),
        "labels": labels,
        "video_mask": np.broadcast_to((position >= TEXT_BEFORE) & (position < prefix), ids.shape).copy(),
    }


def arrange(pairs: Mapping[str, np.ndarray], system: System, prefix: int) -> dict[str, np.ndarray]:
    """The batch that a system trains on: all of `pairs`, laid out as `pvchat_jax.training.step` takes it."""
    left_out = "video" if system.cached_features else "features"
    batch = {name: array for name, array in pairs.items() if name != left_out}
    labels = batch["labels"]
    if system.answer_logits:
        positions = answer_positions(labels, ANSWER)
    else:
        start = prefix if system.common_prefix else 0
        positions = np.broadcast_to(np.arange(start, labels.shape[-1], dtype=np.int32), (*labels.shape[:2], labels.shape[-1] - start))
    batch["answer_positions"] = positions
    if system.shared_video:
        return batch
    questions = labels.shape[1]
    visual = batch.keys() & {"video", "features"}
    return {
        name: np.repeat(array, questions, axis=0) if name in visual else array.reshape(-1, 1, array.shape[-1])
        for name, array in batch.items()
    }


def flops_per_pair(size: TrainConfig, system: System, questions: int) -> dict[str, Flops]:
    """Operations of a training step by part of the model, of one question and its answer."""
    config = configure(size, system, 1, questions)
    prefix = prefix_of(config.data, config.model)
    learnt = learnt_prefix(config, system)
    positions = ANSWER if system.answer_logits else prefix + OWN - learnt
    shapes: Shapes = step_shapes(config, prefix + OWN, learnt, positions)
    counted = count_flops(config, shapes)
    return {part: Flops(*(share / questions for share in flops)) for part, flops in counted.items()}


def flop_shares(size: TrainConfig, system: System, questions: int) -> dict[str, float]:
    """The parts' shares of a step's operations."""
    counted = {part: flops.total for part, flops in flops_per_pair(size, system, questions).items()}
    return {part: flops / sum(counted.values()) for part, flops in counted.items()}
