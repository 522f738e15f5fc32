"""A sweep of evaluations as a frozen dataclass that validates itself."""

import dataclasses

from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.config.tracking_schema import TrackingConfig

PERSONALIZED, BASE, QUESTION_ONLY, BLIND = "personalized", "base", "question_only", "blind"
WRONG_PERSON, NAME_SWAPPED = "wrong_person", "name_swapped"
ALWAYS_YES, ALWAYS_NO, MAJORITY = "always_yes", "always_no", "majority"
CONSTANTS = (ALWAYS_YES, ALWAYS_NO, MAJORITY)
SYSTEMS = (PERSONALIZED, BASE, *CONSTANTS, QUESTION_ONLY, BLIND, WRONG_PERSON, NAME_SWAPPED)
NEWEST, ALL = "newest", "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Which runs are asked what, and how.

    Attributes:
      runs: output directories of training runs, or packs; each knows one subject.
      records: files of questions: one for all runs, one for each run in their order, or any number for a single run.
      checkpoints: steps of each run, `newest`, or `all`.
      decoding: `greedy`, or fields of `DecodingOptions` such as `num_beams=5` and `temperature=0.7+top_p=0.9`.
      seeds: of draws; decoding that draws nothing is asked with the first alone.
      systems: some of `SYSTEMS`, what is asked beside the personalised model.
      others: runs or packs of other people for `wrong_person`, which the runs take in turn; empty takes the next of `runs` whose
        subject has another name.
      other_name: what `name_swapped` asks about.
      limit: videos of each file, half of them with the subject if possible; 0 asks about all.
      output_dir: of the answers; a sweep that was interrupted, or one that grew, goes on there.
      mesh: of each process's own devices; `data` splits the videos.
    """

    runs: tuple[str, ...]
    records: tuple[str, ...]
    checkpoints: tuple[str, ...] = (NEWEST,)
    decoding: tuple[str, ...] = ("greedy",)
    seeds: tuple[int, ...] = (0,)
    systems: tuple[str, ...] = SYSTEMS
    others: tuple[str, ...] = ()
    other_name: str = "<Alex>"
    limit: int = 0
    output_dir: str = "runs/evaluation"
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        for name in ("runs", "records", "checkpoints", "decoding", "seeds", "systems", "others"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name) and name != "others":
                raise ValueError(f"{name} is empty")
        unknown = sorted(set(self.systems) - set(SYSTEMS))
        if unknown:
            raise ValueError(f"systems has unknown {unknown}; known are {SYSTEMS}")
        wrong = [text for text in self.checkpoints if text not in (NEWEST, ALL) and not text.isdecimal()]
        if wrong:
            raise ValueError(f"checkpoints has {wrong}; give steps, '{NEWEST}' or '{ALL}'")
        if len(self.runs) > 1 and len(self.records) not in (1, len(self.runs)):
            raise ValueError(f"records are {len(self.records)} files and runs {len(self.runs)}; give one file for all, or one for each run")
        if self.output_dir == "" or self.other_name == "" or self.limit < 0:
            raise ValueError("output_dir or other_name is empty, or limit is negative")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each run with a file of questions."""
        if len(self.runs) == len(self.records):
            return list(zip(self.runs, self.records, strict=True))
        return [(run, file) for run in self.runs for file in self.records]
