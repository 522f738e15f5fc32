"""Everything that personalising a model from one video depends on, as frozen dataclasses that validate themselves."""

import dataclasses

from pvchat_jax.config.schema import TrainConfig

# What is trained on, each with all that comes before it; the last but one has no look-alike whom the cast's tests may show.
CLIP_SETS = ("one_positive", "negatives", "synthetic_positives", "other_look_alikes", "look_alikes")

# Where the clips come from: `rendered` draws people with the looks that were read off the one video; `composited` cuts everybody out of
# single videos and places them anew.
CLIP_SOURCES = ("rendered", "composited")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnPersonConfig:
    """From one video of a person to a model that knows the person.

    Attributes:
      video: the one video.
      weights: base model with readers, `tiny` for the one in the package; both stages start from it.
      clip_source: how clips are made, one of `CLIP_SOURCES`.
      corpus: folder with `videos/*.mp4`, one of each of many other people; needed where clips are composited.
      num_clips: training clips that are made, half of them with the subject.
      num_calibration: clips that are made besides, to choose the threshold between yes and no.
      clip_set: which of the clips are used, one of `CLIP_SETS`; the last uses them all.
      with_stage1: whether there is training on single frames before that on video.
      stage1: training on single frames.
      stage2: training on video.
      seed: of the clips and of the training.
      shared_dir: where clips and features are kept, for runs that differ in training alone; empty means in the output directory.
    """

    video: str = ""
    output_dir: str = "runs/wilson"
    weights: str = "tiny"
    clip_source: str = "rendered"
    corpus: str = ""
    num_clips: int = 960
    num_calibration: int = 96
    clip_set: str = "look_alikes"
    shared_dir: str = ""
    with_stage1: bool = False
    stage1: TrainConfig
    stage2: TrainConfig
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clip_set not in CLIP_SETS:
            raise ValueError(f"clip_set '{self.clip_set}' is not one of {CLIP_SETS}")
        if self.clip_source not in CLIP_SOURCES:
            raise ValueError(f"clip_source '{self.clip_source}' is not one of {CLIP_SOURCES}")
        for name in ("num_clips", "num_calibration"):
            if getattr(self, name) < 4:
                raise ValueError(f"{name} {getattr(self, name)} is below 4, which leaves a kind of clip out")
        if self.output_dir == "":
            raise ValueError("output_dir is empty")
        if self.stage1.data.subject != self.stage2.data.subject:
            raise ValueError("stage1.data.subject differs from stage2.data.subject")

    @property
    def subject(self) -> str:
        """The name as it stands in questions."""
        return self.stage2.data.subject
