"""Everything that the cast benchmark and its ablations depend on, as frozen dataclasses that validate themselves."""

import dataclasses

from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Personalisation of several subjects with several seeds.

    Attributes:
      subjects: seeds of the worlds that the subjects come from.
      seeds: of clips and training, for each subject.
      num_test: test videos of each subject, a multiple of 8 so that all kinds are there: half show the subject, a quarter strangers,
        an eighth look-alikes of each grade.
      baselines: whether other systems are asked as well, which more than doubles the time of asking.
      shared_dir: where worlds, clips and features are kept, for benchmarks that differ in training alone; empty means in the output
        directory.
      personalise: how each subject is learnt; its video, directories and seed are filled in.
    """

    output_dir: str = "runs/benchmark"
    subjects: tuple[int, ...] = (0, 1, 2, 3, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    num_test: int = 160
    baselines: bool = True
    shared_dir: str = ""
    personalise: DrawnPersonConfig

    def __post_init__(self) -> None:
        for name in ("subjects", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if self.num_test < 8 or self.num_test % 8:
            raise ValueError(f"num_test {self.num_test} is not a multiple of 8")
        if self.output_dir == "":
            raise ValueError("output_dir is empty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """One benchmark for each variant of the default.

    The variants are those of `benchmarking/variants.py`.

    Attributes:
      benchmark: the default, which every variant changes; its output directory holds one folder for each variant.
      only: names of the variants to run; empty means all.
    """

    benchmark: BenchmarkConfig
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", tuple(self.only))
