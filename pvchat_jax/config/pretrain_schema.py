"""Everything that the training of a base model depends on, as frozen dataclasses that validate themselves."""

import dataclasses

from pvchat_jax.config.schema import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One base model: drawn videos, then three phases of training, each of which starts from the one before, and a segmenter.

    Attributes:
      weights: a base model of the same size to go on from, `tiny` for the one in the package; empty starts from random numbers.
      num_videos: drawn for training. num_validation: drawn besides, for the scores of the model card.
      frames_per_video: kept of each video; a clip takes one from each part of them.
      image: vision encoder on single frames, with dense labels.
      video: vision encoder on clips, with dense labels.
      language: the rest of the model on questions and answers, with the encoder's features stored.
      auxiliary_weight: factor on the dense labels of the query tokens in the last phase.
      parts: the segmenter of drawn people, a network of its own, which needs none of the above.
      only_parts: whether nothing but the segmenter is trained.
    """

    output_dir: str
    seed: int = 0
    weights: str = ""
    num_videos: int = 12288
    num_validation: int = 512
    frames_per_video: int = 8
    auxiliary_weight: float = 1.0
    image: TrainConfig
    video: TrainConfig
    language: TrainConfig
    parts: TrainConfig
    only_parts: bool = False

    def __post_init__(self) -> None:
        for name in ("num_videos", "num_validation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("image", "video", "language"):
            phase = getattr(self, name)
            if self.frames_per_video % phase.data.num_frames:
                raise ValueError(
                    f"frames_per_video {self.frames_per_video} is not a multiple of {name}.data.num_frames {phase.data.num_frames}"
                )
            if phase.model != self.language.model:
                raise ValueError(f"{name}.model differs from language.model")
