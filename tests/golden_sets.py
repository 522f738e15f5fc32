"""The numbers that the original PyTorch code computed, ready for comparison.

Every `<name>_config.json` in tests/goldens (and in the directory that the environment variable
PVCHAT_GOLDENS names, if set) is one set with its own sizes and seed; converters/recordings.py reads them.
"""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from converters import recordings
from converters.verification.comparison import DIFFERS, Comparison, Tolerance, compare

GOLDENS = Path(__file__).parent / "goldens"


def _directories() -> list[Path]:
    return [GOLDENS, *([Path(extra)] if (extra := os.environ.get("PVCHAT_GOLDENS")) else [])]


PATHS = {name: directory / f"{name}{recordings.CONFIG_SUFFIX}" for directory in _directories() for name in recordings.set_names(directory)}
NAMES = sorted(PATHS)
TRAIN_NAMES = [name for name in NAMES if PATHS[name].with_name(f"{name}{recordings.TRAIN_SUFFIX}").exists()]

load_npz = recordings.load_npz


@dataclasses.dataclass(frozen=True)
class GoldenSet(recordings.Recording):
    """One reference model: its sizes, weights in our layout and under the original's names, and recorded arrays by name."""

    state_dict: dict[str, np.ndarray]


@functools.cache
def load(name: str) -> GoldenSet:
    """The golden set called `name`."""
    directory = PATHS[name].parent
    recording = recordings.load_set(directory, name)
    return GoldenSet(**vars(recording), state_dict=load_file(directory / f"{name}{recordings.STATE_DICT_SUFFIX}"))


def assert_close(actual, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    """Every entry within `tolerance` of the largest absolute expected value (tests/goldens/README.md, "Tolerances")."""
    assert_agree([compare("array", actual, expected, Tolerance(of_maximum=tolerance))])


def assert_agree(comparisons: list[Comparison]) -> None:
    """None of them differs."""
    differing = [comparison for comparison in comparisons if comparison.verdict == DIFFERS]
    assert not differing, "\n".join(map(str, differing))
