"""The faithful mode against the original: six optimizer steps of training.

tests/models/test_parity.py compares the losses of single calls.
"""

import dataclasses

import numpy as np
import pytest

from converters.recordings import load_training
from converters.verification.comparison import AGREES, NOT_COMPARED, Comparison
from converters.verification.training import TrainingRun, compare_training, replay
from tests import golden_sets
from tests.golden_sets import GoldenSet, assert_agree


@dataclasses.dataclass(frozen=True)
class Replayed:
    """Our run beside the recorded one, and how they compare by stage."""

    golden: GoldenSet
    recorded: dict[str, np.ndarray]
    run: TrainingRun
    comparisons: dict[str, Comparison]

    def agrees(self, *stages: str) -> bool:
        return all(self.comparisons[f"train/{stage}"].verdict == AGREES for stage in stages)


@pytest.fixture(params=golden_sets.TRAIN_NAMES, scope="module")
def replayed(request: pytest.FixtureRequest) -> Replayed:
    golden = golden_sets.load(request.param)
    recorded = load_training(golden_sets.PATHS[request.param].parent, request.param)
    run = replay(golden, recorded)
    return Replayed(golden, recorded, run, {one.stage: one for one in compare_training(golden, recorded, run)})


def test_everything_compared_agrees(replayed: Replayed) -> None:
    assert_agree(list(replayed.comparisons.values()))


def test_losses_and_adaptive_coefficients(replayed: Replayed) -> None:
    assert replayed.agrees("first lm_loss, beside vid/lm_loss", "total_loss", "lm_loss", "lb_loss")
    assert replayed.agrees("aux_names", "aux_lambda_after", "aux_alignment_weight")


def test_first_gradients(replayed: Replayed) -> None:
    names = [name for name in replayed.recorded if name.startswith("grad/")]
    assert names and replayed.agrees("grad_names", "grad_norms", *names)


def test_exactly_the_same_parameters_train(replayed: Replayed) -> None:
    assert replayed.agrees("final_names")
    assert replayed.run.final.keys() == set(replayed.recorded["final_names"].tolist())


def test_final_parameters(replayed: Replayed) -> None:
    """Within 1e-3; every `key.bias` is left out, because its true gradient is zero (tests/goldens/README.md)."""
    names = [name for name in replayed.recorded if name.startswith("final/") and not name.endswith("key.bias")]
    assert len(names) > 100 and replayed.agrees(*names, "final change that differs, as a share")
    assert {replayed.comparisons[f"train/{name}"].tolerance for name in names} == {"0.001 absolute"}
    start, final = replayed.golden.state_dict, replayed.run.final
    keys = [name.removeprefix("final/") for name in names]
    assert max(np.abs(final[key] - start[key]).max() for key in keys) > 0.01  # the tolerance would otherwise accept no training at all


def test_what_is_not_compared(replayed: Replayed) -> None:
    left_out = {stage.removeprefix("train/") for stage, one in replayed.comparisons.items() if one.verdict == NOT_COMPARED}
    parameters = {name for name in left_out if name.startswith("final/")}
    assert parameters and all(name.endswith("key.bias") for name in parameters)
    described = {name for name in left_out if name.endswith(("_f64", "_maxabs"))}
    summed = {"aux_lb_loss_ori", "aux_alignment_loss", "aux_all_loss"}
    assert left_out - parameters - described == {*summed, "aux_lambda_before", "aux_alignment_weight_before", "aux_active_rate"}
