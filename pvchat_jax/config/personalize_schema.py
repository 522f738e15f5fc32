"""Everything that going from one video to a model that knows the person depends on, as a frozen dataclass that validates itself."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.config.synthesis_schema import SynthesisConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonalizeConfig:
    """The synthesis of the training set, and both stages of training on it.

    Attributes:
      stage1: training on single frames. with_stage1: whether there is any; without it stage 2 starts from the base.
      stage2: training on video.
    """

    synthesis: SynthesisConfig
    stage1: TrainConfig
    stage2: TrainConfig
    with_stage1: bool = True

    def training(self, folder: Path, subject: str, available: Collection[str]) -> list[TrainConfig]:
        """The stages that train, wired to the set in `folder` and to each other; their runs lie in the folder too.

        Args:
          available: names of the set's files of records; where `stage1` is missing, stage 1 trains on `train`.
        """
        stages: list[TrainConfig] = []
        for stage in (self.stage1, self.stage2)[0 if self.with_stage1 else 1 :]:
            records = "stage1" if stage.stage == 1 and "stage1" in available else "train"
            data = dataclasses.replace(stage.data, train=str(folder / f"{records}.jsonl"), subject=subject)
            output = str(folder / f"stage{stage.stage}")
            first = stages[-1].output_dir if stages else ""
            stages.append(dataclasses.replace(stage, data=data, output_dir=output, init_from=first))
        return stages
