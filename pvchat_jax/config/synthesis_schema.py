"""Everything that turning one video into a training set depends on, as a frozen dataclass that validates itself."""

import dataclasses

READERS = ("auto", "insightface", "embedded", "tiny_base")
GENERATORS = ("compositor", "wan", "wan_image", "wan_animate", "consisid", "faceid")
AGE_GROUPS = ("unknown", "child", "young", "middle_aged", "elderly")
OFFLOADS = ("none", "model", "sequential")
CAPTIONERS = ("none", "truth", "reader", "endpoint", "transformers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """From one video of a person to a training set.

    Attributes:
      reader: what finds and describes faces, one of `READERS`; `auto` takes insightface where `reader_dir` has its models.
      reader_dir: folder of insightface's models.
      num_portraits: best crops of a person that generators get.
      generators: what makes clips, some of `GENERATORS`, which take turns.
      generator_dir: folder of the generators' weights, one folder for each by its name; the compositor needs none.
      num_clips: training clips that are made, half of them of the subject.
      hard_share: of the clips of other people, those of look-alikes, where the corpus has any.
      num_calibration: clips made besides, to choose the threshold between yes and no.
      num_filmed: clips cut from each filmed video at most; of the subject no more in training than of others, but one.
      num_frames, width, height: of a clip.
      clip_seconds: of a clip that is cut from a filmed video.
      age_group: of the subject, one of `AGE_GROUPS`, which decides the prompts.
      device: of models that PyTorch runs, such as `cuda:1`; `auto` takes the first GPU, or else the CPU.
      offload: one of `OFFLOADS`, what saves the GPU's memory.
      batch_size: clips that a generator is asked for at a time; more than one may change their last bits.
      max_attempts: at a clip that fails its checks.
      corpus: folder of videos and pictures of other people, for negatives; empty leaves these to whoever else is in the one video.
      corpus_index: folder of its index, for all subjects; empty puts it beside the corpus.
      num_others: people of the corpus who appear, the most alike first for the look-alikes.
      calibration_share, test_share: of the corpus' videos that are for nothing else.
      captioner: what answers questions about a clip, one of `CAPTIONERS`; `none` asks about presence alone. Of drawn people `truth` takes
        the answers from files of records, and `reader` from what `tiny_base` reads off their videos.
      truth: files of records that `python -m pvchat_jax.world` wrote with the videos, separated by commas.
      num_existence: questions about presence for each clip. num_content: of each other type, if there is a captioner.
      captioner_model: its name at the endpoint, or the folder of its weights. captioner_url: of the endpoint.
      allow_remote: whether frames may leave this machine, which the consent must cover too.
      seed: of everything.
    """

    reader: str = "auto"
    reader_dir: str = ""
    num_portraits: int = 8
    generators: tuple[str, ...] = ("compositor",)
    generator_dir: str = "weights/generators"
    num_clips: int = 480
    hard_share: float = 0.5
    num_calibration: int = 96
    num_filmed: int = 12
    num_frames: int = 16
    width: int = 480
    height: int = 480
    clip_seconds: float = 2.0
    age_group: str = "unknown"
    device: str = "auto"
    offload: str = "none"
    batch_size: int = 1
    max_attempts: int = 3
    corpus: str = ""
    corpus_index: str = ""
    num_others: int = 64
    calibration_share: float = 0.1
    test_share: float = 0.2
    captioner: str = "none"
    truth: str = ""
    num_existence: int = 15
    num_content: int = 5
    captioner_model: str = ""
    captioner_url: str = ""
    allow_remote: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "generators", tuple(self.generators))
        for name, known in {"reader": READERS, "captioner": CAPTIONERS, "age_group": AGE_GROUPS, "offload": OFFLOADS}.items():
            _require(getattr(self, name) in known, f"{name} '{getattr(self, name)}' is not one of {known}")
        unknown = sorted(set(self.generators) - set(GENERATORS))
        _require(not unknown and self.generators != (), f"generators has unknown {unknown} or none; known are {GENERATORS}")
        for name in ("num_portraits", "num_frames", "batch_size", "max_attempts", "num_others", "num_existence"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("num_clips", "num_calibration"):
            _require(getattr(self, name) >= 2 and getattr(self, name) % 2 == 0, f"{name} {getattr(self, name)} is not even, or below 2")
        for name in ("width", "height"):
            _require(getattr(self, name) >= 32 and getattr(self, name) % 2 == 0, f"{name} {getattr(self, name)} is odd, or below 32")
        for name in ("hard_share", "calibration_share", "test_share"):
            _require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is not between 0 and 1")
        _require(self.calibration_share + self.test_share < 1, "calibration_share and test_share leave no other person to train on")
        _require(self.captioner != "reader" or self.reader == "tiny_base", "captioner 'reader' needs reader 'tiny_base'")
        _require(self.captioner != "truth" or self.truth != "", "captioner 'truth' needs files of records in truth")
        _require(self.num_filmed >= 0 and self.clip_seconds > 0, "num_filmed is negative, or clip_seconds is not positive")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
