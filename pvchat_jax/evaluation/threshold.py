"""The log-odds that an answer needs to begin with "Yes", chosen on clips that are kept from both training and test."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.config.pack_manifest import THRESHOLD_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.files import write_atomically


def choose_threshold(answers: Sequence[Answer]) -> float:
    """The threshold nearest to 0, which is that of greedy decoding, whose balanced accuracy on existence answers is the best.

    What is worse by no more than a standard error counts as the best too: a few clips cannot tell such thresholds apart, and the
    very best on them is often far off on others. The questions about one video count as one for this error. Of a gap without
    answers the middle counts, and 0 where it lies in it.

    Returns 0 where one class is missing.
    """
    scored = [answer for answer in answers if answer.log_odds is not None]
    odds = np.array([answer.log_odds for answer in scored])
    present = np.array([answer.present for answer in scored], bool)
    if present.all() or not present.any():
        return 0.0
    values = np.unique(odds)
    # One step outside on either side, so that always-yes and always-no are candidates too.
    edges = np.concatenate([[values[0] - 1], values, [values[-1] + 1]])
    candidates = np.append((edges[:-1] + edges[1:]) / 2, 0.0)
    accepted = odds[None] > candidates[:, None]
    right = np.stack([accepted[:, present].mean(axis=1), 1 - accepted[:, ~present].mean(axis=1)])  # [2, candidates]
    best = np.argmax(right.sum(axis=0))
    videos = [len({answer.video for answer in scored if answer.present == there}) for there in (True, False)]
    error = np.sqrt(np.sum(right[:, best] * (1 - right[:, best]) / videos))
    good = candidates[right.sum(axis=0) >= right[:, best].sum() - error]
    return float(good[np.argmin(np.abs(good))])


def write_threshold(run: Path, threshold: float, num_videos: int) -> None:
    """Notes the threshold in a run's directory, where evaluation finds it."""
    write_atomically(run / THRESHOLD_FILE, json.dumps({"threshold": threshold, "num_videos": num_videos}) + "\n")


def read_threshold(run: Path) -> float | None:
    """The threshold of a run; None where none was chosen.

    Raises:
      UserError: the file is damaged.
    """
    path = run / THRESHOLD_FILE
    if not path.is_file():
        return None
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["threshold"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to answer without a threshold.") from error
