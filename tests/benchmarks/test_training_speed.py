"""The benchmark of training speed compares like with like."""

import argparse
import functools

import jax
import numpy as np
import pytest

from benchmarks.training_speed import flops_table, speed_table
from benchmarks.training_systems import SIZES, SYSTEMS, arrange, configure, flop_shares, flops_per_pair, learnt_prefix, random_questions
from configs import stage2
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.training.step import dropout_stream, forward_with_loss
from tests.random_params import random_params

VIDEOS, QUESTIONS = 2, 3


def test_systems_have_the_same_loss_and_the_same_routing() -> None:
    size = stage2.get_config("tiny")  # without dropout, which is drawn for other arrays in each system
    model = build_pvchat(size.model)
    params = random_params(lambda: {"params": init_boxed(model, size.model, jax.random.key(0))})
    pairs = random_questions(size, VIDEOS, QUESTIONS)
    pairs["features"] = np.asarray(jax.jit(lambda video: model.apply({"params": params}, video, method="encode_video"))(pairs["video"]))
    losses = {}
    for name in ("reference", "prefix", "all"):  # each takes seconds to compile; every improvement is in one of them
        system = SYSTEMS[name]
        config = configure(size, system, VIDEOS, QUESTIONS)
        prefix = learnt_prefix(config, system)
        spr = initial_spr_state(config.objective, len(config.model.qformer.routed_modules))

        evaluate = functools.partial(forward_with_loss, model=build_pvchat(config.model, prefix_length=prefix), config=config)
        _, outcome = jax.jit(evaluate)(params, {}, arrange(pairs, system, prefix), spr, dropout_stream(0))
        losses[name] = [float(outcome.loss), float(outcome.tokens.count), *(float(part) for part in outcome.parts.values())]
    assert losses["reference"][1] == VIDEOS * QUESTIONS * 24
    for name, found in losses.items():
        np.testing.assert_allclose(found, losses["reference"], rtol=1e-5, err_msg=name)


def test_batches_hold_what_a_configuration_announces() -> None:
    size = SIZES["mid"]()
    pairs = random_questions(size, VIDEOS, QUESTIONS)
    for system in SYSTEMS.values():
        config = configure(size, system, VIDEOS, QUESTIONS)
        batch = arrange(pairs, system, learnt_prefix(config, system))
        assert batch["labels"].shape == (config.data.batch_size, config.data.questions_per_video, 404)
        assert ("features" in batch) == (config.data.cache_features) == ("video" not in batch)
        assert all(array.shape[0] == config.data.batch_size for array in batch.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_mid_size_has_the_shares_of_the_full_model(system: str) -> None:
    mid, full = (flop_shares(SIZES[name](), SYSTEMS[system], 25) for name in ("mid", "8b"))
    assert sum(full.values()) == pytest.approx(1)
    assert mid == pytest.approx(full, abs=0.012)


def test_counted_operations_fall_as_planned() -> None:
    def tera(system: str, questions: int) -> float:
        return sum(part.total for part in flops_per_pair(SIZES["8b"](), SYSTEMS[system], questions).values()) / 1e12

    assert tera("reference", 8) == pytest.approx(27.3, abs=0.1)
    assert tera("all", 8) == pytest.approx(2.74, abs=0.01)
    assert tera("all", 25) == pytest.approx(1.83, abs=0.01)


def test_tables_show_ratios_to_the_first_system_and_the_share_of_the_peak() -> None:
    arguments = argparse.Namespace(videos=1, questions=25)

    def result(seconds: float) -> dict:
        common = {"peak_bytes": 2**31, "program_bytes": 2**30, "device": "NVIDIA H200"}
        return {"seconds": [2 * seconds, seconds], "processor_seconds": [seconds, seconds], **common}

    size = SIZES["8b"]()
    rows = speed_table(arguments, size, {"reference": [result(12.0)], "all": [result(1.0), result(1.5)]}).splitlines()
    cells = [cell.strip() for cell in rows[-1].strip("|").split("|")]
    useful = sum(part.forward + part.backward for part in flops_per_pair(size, SYSTEMS["all"], 25).values())
    assert cells[1:4] == ["25", "12.00", "14.94"]
    assert cells[-1] == f"{100 * useful * 25 / 989.4e12:.1f} %"
    assert flops_table(25).count("\n") == 1 + 2 * len(SYSTEMS)
