"""Everything a training run depends on, as frozen dataclasses that validate themselves.

`configs/stage1.py` and `configs/stage2.py` fill these in; `pvchat_jax/config/flags.py` reads them from
the command line. Nothing in here imports jax.
"""

import dataclasses

from pvchat_jax.config.tracking_schema import TrackingConfig
from pvchat_jax.models.config import EIGHT_B, PVChatConfig

QUESTION_TYPES = ("existence", "appearance", "action", "location")
TRAINABLE_GROUPS = ("subject_tokens", "name_row", "qformer", "router", "lora", "vision_upper", "base")
HAE_MODES = ("off", "reference", "straight_through", "smooth")
SCHEDULES = ("constant", "cosine", "linear")
PROMPT_STYLES = ("pvchat", "reference")
DTYPES = ("float32", "bfloat16")
FROZEN_DTYPES = (*DTYPES, "int8")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Records, frames, tiles and text.

    Attributes:
      train: a JSONL of records, or any JSON variant of the original project.
      subject: the name as it stands in questions, such as `<Wilson>`.
      num_frames: frames sampled from each video; 1 trains on single frames.
      random_frames: draw each frame from its part of the video anew in every pass; otherwise always the same ones,
        as in the original. Evaluation never draws.
      cache_features: encode every video once before training and train on the stored features (`TrainConfig.stored_features`), which
        needs optimizer.base 0; see training/feature_cache.py.
      features_dir: where `cache_features` keeps them; empty means in the run's output directory. Any runs may share one, also at the
        same time: each finds there what it has in common with the others.
      features_max_gb: what features_dir may hold, in units of 1e9 bytes. Features that no run uses now make room for new ones, the
        least recently used first; a run that needs more for itself says so before it encodes anything.
      feature_draws: with `cache_features` and `random_frames`, draws of frames that are stored of each video and take
        turns from pass to pass.
      tile_grid: (columns, rows) of local tiles; (1, 1) means one global view and no tiles.
      questions_per_video: rows that share one decoded video in a batch.
      text_buckets: allowed lengths of a text row; the smallest that fits the whole dataset is used.
      prompt_style: `reference` repeats the original layout with BOS before each piece, `pvchat` has one BOS.
    """

    train: str = ""
    tokenizer: str = ""
    subject: str = "<Wilson>"
    question_types: tuple[str, ...] = QUESTION_TYPES
    num_frames: int = 8
    random_frames: bool = False
    cache_features: bool = False
    features_dir: str = ""
    features_max_gb: float = 100.0
    feature_draws: int = 1
    image_size: int = 224
    tile_grid: tuple[int, int] = (2, 1)
    batch_size: int = 16
    questions_per_video: int = 4
    balance_presence: bool = True
    text_buckets: tuple[int, ...] = (448, 512, 768, 1024)
    prompt_style: str = "pvchat"
    num_workers: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "question_types", tuple(self.question_types))
        object.__setattr__(self, "tile_grid", tuple(self.tile_grid))
        object.__setattr__(self, "text_buckets", tuple(self.text_buckets))
        unknown = sorted(set(self.question_types) - set(QUESTION_TYPES))
        _require(not unknown, f"data.question_types has unknown {unknown}; known are {QUESTION_TYPES}")
        _require(self.prompt_style in PROMPT_STYLES, f"data.prompt_style '{self.prompt_style}' is not one of {PROMPT_STYLES}")
        for field in ("num_frames", "feature_draws", "image_size", "batch_size", "questions_per_video"):
            _require(getattr(self, field) >= 1, f"data.{field} must be at least 1, not {getattr(self, field)}")
        _require(self.features_max_gb > 0, f"data.features_max_gb must be positive, not {self.features_max_gb}")
        _require(len(self.tile_grid) == 2 and min(self.tile_grid) >= 1, f"data.tile_grid {self.tile_grid} is not (columns, rows)")
        _require(list(self.text_buckets) == sorted(self.text_buckets), f"data.text_buckets {self.text_buckets} are not ascending")
        _require(self.subject.strip() == self.subject and self.subject != "", "data.subject is empty or has outer spaces")

    @property
    def draws_per_video(self) -> int:
        """Rows of features that are stored of a video."""
        return self.feature_draws if self.random_frames else 1

    @property
    def num_clips(self) -> int:
        """Clips per video that the vision encoder sees: local tiles and the global view."""
        columns, rows = self.tile_grid
        return 1 if columns * rows == 1 else columns * rows + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW per group of parameters. A group with learning rate 0 is frozen; `clip_norm` 0 clips nothing."""

    subject_tokens: float = 1e-4
    name_row: float = 1e-4
    qformer: float = 1e-5
    router: float = 1e-6
    lora: float = 1e-5
    vision_upper: float = 0.0
    base: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    schedule: str = "cosine"
    warmup_steps: int = 50
    gradient_accumulation: int = 1

    def __post_init__(self) -> None:
        _require(self.schedule in SCHEDULES, f"optimizer.schedule '{self.schedule}' is not one of {SCHEDULES}")
        _require(self.gradient_accumulation >= 1, "optimizer.gradient_accumulation must be at least 1")
        for group in TRAINABLE_GROUPS:
            _require(getattr(self, group) >= 0, f"optimizer.{group} is a learning rate and must not be negative")
        _require(any(self.learning_rates.values()), "every learning rate of optimizer is 0, so nothing would train")

    @property
    def learning_rates(self) -> dict[str, float]:
        """Peak learning rate by group, frozen groups included."""
        return {group: getattr(self, group) for group in TRAINABLE_GROUPS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Smooth Proximity Regularization and Head Activation Enhancement (docs/reference.md section 2), which are for
    ReLU routers, and the load-balance loss of MoH, which is for softmax routers.

    A softmax router has a fixed share of its gates on, so for it choose `spr_weight=0`, `hae_mode="off"` and a
    `load_balance_weight`. SPR with a constant coefficient is not the same loss: its mean gate counts a head's
    probability only where the head was chosen, MoH's mean probability counts it everywhere.

    Attributes:
      target_active_rate: share of routed gates that should be on; the original's top_k / routed heads.
      spr_weight: factor on the load-balanced L1 of the gates (0 switches SPR off).
      spr_rate: exponent of the coefficient's multiplicative update. The original's 0.8 takes the coefficient from
        1e-8 to 10 in some 50 steps where all gates start open, as they do here; 0.1 gives the gates time to follow.
      hae_mode: `reference` has no gradient as in the original; `straight_through` keeps its value and
        sends the gradient of a sigmoid; `smooth` uses the sigmoid for both.
      load_balance_weight: factor on MoH's load-balance loss; 0 leaves it out of the loss and the metrics. MoH's code
        has 0.01 on the mean over M modules times R routed heads, which is 0.01 * R / M here.
    """

    target_active_rate: float = 0.5
    spr_weight: float = 1.0
    spr_rate: float = 0.1
    spr_initial: float = 1e-8
    spr_min: float = 1e-15
    spr_max: float = 10.0
    hae_mode: str = "straight_through"
    hae_initial_weight: float = 0.5
    hae_max_weight: float = 10.0
    hae_growth: float = 1.2
    hae_dead_rate: float = 1e-4
    hae_sharpness: float = 2.0
    hae_slope: float = 10.0
    load_balance_weight: float = 0.0

    def __post_init__(self) -> None:
        _require(self.hae_mode in HAE_MODES, f"objective.hae_mode '{self.hae_mode}' is not one of {HAE_MODES}")
        _require(0 < self.target_active_rate <= 1, f"objective.target_active_rate {self.target_active_rate} is not in (0, 1]")
        _require(0 < self.spr_min <= self.spr_initial <= self.spr_max, "objective needs 0 < spr_min <= spr_initial <= spr_max")
        _require(self.load_balance_weight >= 0, f"objective.load_balance_weight {self.load_balance_weight} is negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Devices along each mesh axis; one of them may be -1 and takes what is left.

    On several TPU slices `data` must be a multiple of their number: it alone runs between slices.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = (self.data, self.fsdp, self.tensor)
        _require(sum(size == -1 for size in sizes) <= 1, f"mesh {sizes} has more than one -1")
        _require(all(size == -1 or size >= 1 for size in sizes), f"mesh {sizes} has a size that is neither -1 nor positive")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """How often to save and how many to keep."""

    every_steps: int = 200
    keep: int = 2

    def __post_init__(self) -> None:
        _require(self.every_steps >= 1, "checkpoint.every_steps must be at least 1")
        _require(self.keep >= 1, "checkpoint.keep must be at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
      stage: 1 trains on single frames, 2 on video.
      weights: directory of converted base weights; empty starts the model from random numbers.
      init_from: output directory of an earlier stage whose trainable parameters this run starts from, or a pack.
      compute_dtype: dtype of activations.
      frozen_dtype: dtype in which frozen parameters are kept. `int8` halves the memory of `bfloat16`: kernels of the vision encoder
        and the language model have 8 bits and a scale per output channel, the rest is bfloat16.
    """

    stage: int = 1
    num_steps: int = 1000
    seed: int = 0
    output_dir: str = "runs/stage1"
    weights: str = ""
    init_from: str = ""
    compute_dtype: str = "bfloat16"
    frozen_dtype: str = "bfloat16"
    log_every: int = 10
    model: PVChatConfig = EIGHT_B
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)

    @property
    def stored_features(self) -> str:
        """What `data.cache_features` stores of a video, by its name in batches and among the model's arguments; empty without it.

        `features` are the vision encoder's output; where its upper half trains, `lower_features` are what that half takes.
        """
        if not self.data.cache_features:
            return ""
        return "lower_features" if self.optimizer.vision_upper > 0 else "features"

    @property
    def stored_dtype(self) -> str:
        """Dtype of the stored features.

        What comes out of the last layer norm fits float16, which has more digits than the bfloat16 of full-size runs; against float32
        it rounds by at most 1 part in 2048. Between the halves no norm bounds the values, so `lower_features` stay as they are
        computed: nothing is rounded, and the upper half trains as it would from the videos.
        """
        return self.compute_dtype if self.stored_features == "lower_features" else "float16"

    def __post_init__(self) -> None:
        _require(self.stage in (1, 2), f"stage must be 1 or 2, not {self.stage}")
        _require(self.num_steps >= 1, f"num_steps must be at least 1, not {self.num_steps}")
        for field, known in (("compute_dtype", DTYPES), ("frozen_dtype", FROZEN_DTYPES)):
            _require(getattr(self, field) in known, f"{field} '{getattr(self, field)}' is not one of {known}")
        _require(self.output_dir != "", "output_dir is empty")
        _require(
            self.data.image_size == self.model.vision.image_size,
            f"data.image_size {self.data.image_size} differs from model.vision.image_size {self.model.vision.image_size}",
        )
        _require(
            self.data.batch_size % self.optimizer.gradient_accumulation == 0,
            f"data.batch_size {self.data.batch_size} is not divisible by "
            f"optimizer.gradient_accumulation {self.optimizer.gradient_accumulation}",
        )
        _require(
            self.optimizer.warmup_steps < self.num_steps or self.optimizer.schedule == "constant",
            f"optimizer.warmup_steps {self.optimizer.warmup_steps} is not below num_steps {self.num_steps}",
        )
