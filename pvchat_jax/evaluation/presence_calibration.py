"""From the model's log-odds of "Yes" to a probability and to present, absent or unsure, learnt on clips that were held out."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.config.pack_manifest import CALIBRATION_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.threshold import read_threshold
from pvchat_jax.files import write_atomically

FALSE_ACCEPTS = 0.05
CONFIDENCE = 0.95
_SURE_ODDS = math.log(3)  # an answer that is not three times likelier than its opposite is unsure
_BEYOND = 1e9  # no log-odds are
_NEWTON_STEPS = 50


class Scored(NamedTuple):
    """A held-out clip: the mean log-odds of the probes in nats, and whether it shows the person, a look-alike or somebody else."""

    log_odds: float
    role: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PresenceCalibration:
    """How log-odds are read: the probability is `sigmoid(slope * log_odds + offset)`.

    Attributes:
      present_above, absent_below: log-odds in nats; between them is unsure.
      false_accepts: the stated rate, at most that share of the held-out look-alikes was called present.
      num_present, num_look_alikes: held-out clips; 0 where nothing was calibrated.
      measured, bound: share of the look-alikes that was called present, and what the true share is below with 95 % confidence (Clopper
        and Pearson, 1934): with few clips that is much more.
      missed: share of the clips with the person that was called absent.
    """

    slope: float
    offset: float
    present_above: float
    absent_below: float
    false_accepts: float = FALSE_ACCEPTS
    num_present: int = 0
    num_look_alikes: int = 0
    measured: float | None = None
    bound: float | None = None
    missed: float | None = None

    def probability(self, log_odds: float) -> float:
        """In [0, 1], of a clip that shows the person as often as not."""
        return float(_sigmoid(np.float64(self.slope * log_odds + self.offset)))

    def verdict(self, log_odds: float) -> str:
        """`present`, `absent` or `unsure`."""
        return "present" if log_odds > self.present_above else "absent" if log_odds < self.absent_below else "unsure"


def uncalibrated(threshold: float) -> PresenceCalibration:
    """The model's own probability about a threshold, for packs that come without held-out clips."""
    return PresenceCalibration(slope=1.0, offset=-threshold, present_above=threshold + _SURE_ODDS, absent_below=threshold - _SURE_ODDS)


def fit_calibration(clips: Sequence[Scored], false_accepts: float = FALSE_ACCEPTS) -> PresenceCalibration:
    """Calibrates on held-out clips.

    The two parameters are Platt's (1999), with his smoothed targets (n + 1) / (n + 2), so that clips that are told apart without an
    error do not end in certainty, and with both classes weighing the same. Two are what about a hundred clips carry: isotonic regression
    has a parameter for each step, and a temperature alone cannot move the middle, which personalised models have off 0. A slope that is
    not positive says nothing: everything is unsure then.

    Called present is what is above the log-odds that `false_accepts` of the look-alikes exceed and at least three times likelier than
    not; absent likewise, below what that share of the clips with the person fall short of.

    Raises:
      UserError: there is no clip with the person, or none without; or the rate is not between 0 and 1.
    """
    if not 0 < false_accepts < 1:
        raise UserError(f"the rate of false accepts is {false_accepts:g} and must be between 0 and 1, such as 0.05.")
    odds = np.array([clip.log_odds for clip in clips])
    present = np.array([clip.role == "positive" for clip in clips], bool)
    alike = np.array([clip.role == "hard_negative" for clip in clips], bool)
    alike = alike if alike.any() else ~present
    if present.all() or not present.any():
        kind = "all" if len(clips) and present.all() else "none"
        raise UserError(f"{kind} of the {len(clips)} held-out clips show the person, and calibrating needs both kinds; add clips.")
    slope, offset = _platt(odds, present)
    if slope <= 0:
        slope, offset, above, below = 0.0, 0.0, _BEYOND, -_BEYOND
    else:
        above = max(_exceeded_by(odds[alike], false_accepts), (_SURE_ODDS - offset) / slope)
        below = min(-_exceeded_by(-odds[present], false_accepts), (-_SURE_ODDS - offset) / slope)
    wrong, total = int(np.sum(odds[alike] > above)), int(alike.sum())
    return PresenceCalibration(
        slope=slope,
        offset=offset,
        present_above=above,
        absent_below=below,
        false_accepts=false_accepts,
        num_present=int(present.sum()),
        num_look_alikes=total,
        measured=wrong / total,
        bound=upper_bound(wrong, total),
        missed=float(np.mean(odds[present] < below)),
    )


def upper_bound(wrong: int, total: int) -> float:
    """What a rate is below with 95 % confidence after `wrong` of `total` (Clopper and Pearson, one-sided)."""
    from scipy.special import betaincinv  # takes longer than all else in here

    return 1.0 if wrong == total else float(betaincinv(wrong + 1, total - wrong, CONFIDENCE))


def _exceeded_by(values: np.ndarray, share: float) -> float:
    """The lowest of `values` that at most `share` of them exceed."""
    return float(np.sort(values)[::-1][math.floor(share * len(values))])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(values / 2)) / 2


def _platt(odds: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the likeliest sigmoid, by Newton's method on centred and scaled log-odds."""
    counts = np.where(present, present.sum(), (~present).sum())
    targets = np.where(present, counts + 1.0, 1.0) / (counts + 2)
    weights = 1 / counts
    centre, scale = odds.mean(), max(float(odds.std()), 1e-6)
    inputs = np.stack([(odds - centre) / scale, np.ones_like(odds)], axis=1)
    solution = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        guessed = _sigmoid(inputs @ solution)
        gradient = inputs.T @ (weights * (guessed - targets))
        curvature = (inputs.T * (weights * guessed * (1 - guessed))) @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        solution -= step / max(1.0, float(np.abs(step).max()))  # far from the solution the curvature says little
        if np.abs(step).max() < 1e-9:
            break
    slope = float(solution[0] / scale)
    return slope, float(solution[1] - slope * centre)


def write_calibration(directory: Path, calibration: PresenceCalibration) -> None:
    """Puts it into a run's directory or a pack."""
    write_atomically(directory / CALIBRATION_FILE, json.dumps(dataclasses.asdict(calibration), indent=2) + "\n")


def read_calibration(directory: Path) -> PresenceCalibration:
    """That of a run or a pack; where none was made, `uncalibrated` about its threshold.

    Raises:
      UserError: a file is damaged.
    """
    path = directory / CALIBRATION_FILE
    if not path.is_file():
        return uncalibrated(read_threshold(directory) or 0.0)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        calibration = PresenceCalibration(**values)
        calibration.probability(0.0)
        return calibration
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); delete it to answer uncalibrated.") from error
