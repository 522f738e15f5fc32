"""Where the numbers of a run go besides its own files, as a frozen dataclass that validates itself."""

import dataclasses

TRACKERS = ("wandb", "mlflow")
WANDB_MODES = ("offline", "online")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """TensorBoard always gets the numbers; what is named here does too.

    Attributes:
      trackers: some of `TRACKERS`.
      project: of Weights & Biases, and the experiment of MLflow.
      wandb_mode: `offline` writes files that `wandb sync` sends later.
      mlflow_uri: of the server or database; empty means the file mlflow.db in the output directory.
    """

    trackers: tuple[str, ...] = ()
    project: str = "pvchat_jax"
    wandb_mode: str = "offline"
    mlflow_uri: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "trackers", tuple(self.trackers))
        unknown = sorted(set(self.trackers) - set(TRACKERS))
        if unknown:
            raise ValueError(f"tracking.trackers has unknown {unknown}; known are {TRACKERS}")
        if self.wandb_mode not in WANDB_MODES:
            raise ValueError(f"tracking.wandb_mode '{self.wandb_mode}' is not one of {WANDB_MODES}")
        if self.project == "":
            raise ValueError("tracking.project is empty")
