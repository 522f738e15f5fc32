"""Whether a person is in a video, with a probability."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Presence:
    """Whether a person is in a video.

    Attributes:
      probability: calibrated, in [0, 1], of a video that shows the person as often as not.
      verdict: `present`, `absent` or `unsure`.
      log_odds: the model's own, in nats: the mean over `evaluation.probes.PROBES`.
    """

    probability: float
    verdict: str
    log_odds: float
