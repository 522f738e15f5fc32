"""Verification end to end: what agrees passes, what was changed is found and named, and the exit status says so."""

import dataclasses
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converters import recordings, verify
from converters.conversion import convert
from converters.recordings import Recording
from converters.state_dict_mapping import params_from_state_dict
from converters.verification.blocks import compare_language_blocks, compare_vision_blocks
from converters.verification.checkpoints import load_checkpoint, without
from converters.verification.comparison import AGREES, DIFFERS, NOT_COMPARED, Tolerance, compare
from converters.verification.losses import compare_losses
from converters.verification.recording import compare_recording
from converters.verification.report import first_difference, summarised
from converters.verification.training import TrainingRun, compare_training
from pvchat_jax.errors import UserError
from tests import golden_sets
from tests.converters import synthetic_sets
from tests.golden_sets import assert_agree

ROUTER = "qformer.bert.encoder.layer.1.attention.self.router_alpha.router.weight"
MISTRAL = "lm.base_model.model.model"
VISION_BIAS = "vision_encoder.blocks.1.mlp.fc1.bias"
LANGUAGE_WEIGHT = f"{MISTRAL}.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recording]:
    directory = tmp_path_factory.mktemp("recorded")
    return directory, synthetic_sets.write_set(directory)


@pytest.fixture
def directory(tmp_path: Path, recorded: tuple[Path, Recording], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the set that a test may damage."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    return Path(shutil.copytree(recorded[0], tmp_path / "set"))


def _compare(directory: Path) -> dict:
    return {one.stage: one for one in compare_recording(recordings.load_set(directory, synthetic_sets.NAME))}


def _change_weight(directory: Path, key: str) -> None:
    path = directory / f"{synthetic_sets.NAME}_state_dict.safetensors"
    tensors = load_file(path)
    tensors[key].flat[0] += 0.5
    save_file(tensors, path)


def _change_recorded(directory: Path, change: Callable[[dict], object]) -> None:
    path = directory / f"{synthetic_sets.NAME}_io.npz"
    arrays = recordings.load_npz(path)
    change(arrays)
    np.savez(path, **arrays)


def _arguments(directory: Path) -> list[str]:
    return ["--goldens", str(directory), "--name", synthetic_sets.NAME]


def test_a_set_of_other_sizes_agrees_with_itself(directory: Path) -> None:
    comparisons = _compare(directory)
    assert_agree(list(comparisons.values()))
    assert comparisons["ins/qformer_text_out"].shape == (2, 4, 24) and comparisons["vid/gating_probs.2.cross"].shape == (2, 5, 5)


@pytest.mark.parametrize(
    ("key", "stage"),
    [
        ("vision_encoder.pos_embed", "vid/vision_encoder_out"),
        ("vision_layernorm.weight", "vid/vision_layernorm_out"),
        ("query_tokens", "vid/qformer_embeddings_out_clip0"),
        ("personal_query_tokens", "vid/qformer_embeddings_out_clip0"),
        ("qformer.bert.encoder.layer.0.crossattention.self.value.weight", "vid/qformer_layer0_out_clip0"),
        (ROUTER, "vid/gating_probs.1.self"),
        ("qformer.bert.encoder.layer.2.output_query.dense.bias", "vid/qformer_layer2_out_clip0"),
        ("qformer.bert.encoder.layer.0.output.dense.bias", "ins/qformer_layer0_out_clip0"),
        ("project_up.bias", "vid/project_up_out"),
        (f"{MISTRAL}.layers.1.mlp.down_proj.lora_B.default.weight", "vid/logits"),
        ("lm.base_model.model.lm_head.weight", "vid/logits"),
    ],
)
def test_a_changed_weight_is_found_where_it_acts(directory: Path, key: str, stage: str) -> None:
    _change_weight(directory, key)
    assert first_difference(_compare(directory).values()).stage == stage


@pytest.mark.slow
@pytest.mark.parametrize("name", golden_sets.NAMES)
def test_every_stage_that_the_original_recorded(name: str) -> None:
    assert verify.main(["--goldens", str(golden_sets.PATHS[name].parent), "--name", name]) == 0


def test_a_changed_block_differs_alone() -> None:
    """On the goldens, which record each block: the next one is fed with what was recorded."""
    golden = golden_sets.load("A")
    weights = golden.state_dict | {key: golden.state_dict[key].copy() for key in (VISION_BIAS, LANGUAGE_WEIGHT)}
    weights[VISION_BIAS].flat[0] += 1
    weights[LANGUAGE_WEIGHT].flat[0] += 1
    changed = dataclasses.replace(golden, params=params_from_state_dict(weights, golden.config)[0])
    verdicts = [one.verdict for one in compare_vision_blocks(changed)]
    assert verdicts == [AGREES, DIFFERS, AGREES]
    verdicts = [one.verdict for one in compare_language_blocks(changed, golden.io["vid/text_embeds"])]
    assert verdicts == [AGREES, AGREES, DIFFERS]  # the text's embeddings come first


@pytest.mark.parametrize("name", ["vid/text_embeds", "img/qformer_query_out", "ins/logits"])
def test_a_changed_array_is_found_alone(directory: Path, name: str) -> None:
    _change_recorded(directory, lambda arrays: arrays[name].flat.__setitem__(3, 9.0))
    assert [one.stage for one in _compare(directory).values() if one.verdict == DIFFERS] == [name]


def test_arrays_of_unknown_meaning_and_of_another_shape(directory: Path) -> None:
    _change_recorded(directory, lambda arrays: arrays.update({"vid/surprise": np.zeros(3), "vid/text_embeds": np.zeros((2, 3))}))
    _change_recorded(directory, lambda arrays: arrays.update({"gen/greedy_ids": np.zeros((1, 12))}))
    comparisons = _compare(directory)
    assert comparisons["vid/surprise"].verdict == NOT_COMPARED
    assert (comparisons["gen/greedy_ids"].verdict, comparisons["gen/greedy_ids"].note) == (NOT_COMPARED, "generation is not compared yet")
    assert comparisons["vid/text_embeds"].verdict == DIFFERS and "(2, 13, 24)" in comparisons["vid/text_embeds"].note


def test_regularisers_of_other_constants(recorded: tuple[Path, Recording]) -> None:
    """Formulas of docs/reference.md section 2, written again in numpy; the second call goes on from the first."""
    recording = recorded[1]
    modules, moh = recording.config.qformer.routed_modules, synthetic_sets.INFO["qformer"]
    coefficient, weight = np.full(len(modules), moh["remoe_lambda"]), np.full(len(modules), moh["alignment_weight"])
    expected = {}
    for call in ("vid", "vid2"):
        gates = [recording.io[f"vid/gating_probs.{module}"].astype(np.float64) for module in modules]
        rate, target = np.array([(gate > 0).mean() for gate in gates]), moh["moh_top_k"] / 5
        expected[f"{call}/aux_lambda_before"] = coefficient
        coefficient = np.clip(coefficient * np.exp(moh["k"] * (rate - target)), 1e-15, 10)
        weight = np.where(rate < 1e-4, np.minimum(1.2 * weight, 10), moh["alignment_weight"])
        load = np.array([((gate > 0).mean((0, 1)) * gate.mean((0, 1))).sum() for gate in gates])
        balance = moh["moh_load_balance_weight"] * coefficient * load
        alignment = np.where(rate < target, np.exp(2 * (target - rate)) - 1, 0)
        expected |= {f"{call}/aux_lambda_after": coefficient, f"{call}/aux_active_rate": rate, f"{call}/aux_alignment_weight": weight}
        expected |= {f"{call}/aux_lb_loss_ori": balance, f"{call}/aux_alignment_loss": alignment}
        expected |= {f"{call}/aux_all_loss": balance + weight * alignment, f"{call}/lb_loss": (balance + weight * alignment).sum()}
    stages = {stage.removeprefix("vid/"): array for stage, array in recording.io.items() if stage.startswith("vid/")}
    extended = Recording(recording.name, recording.info, recording.config, recording.params, {**recording.io, **expected})
    comparisons = [one for one in compare_losses(extended, {"vid": stages}) if one.stage in expected]
    assert_agree(comparisons)
    assert {one.stage for one in comparisons} == expected.keys()


def test_losses_of_the_original_from_what_it_recorded() -> None:
    golden = golden_sets.load("A")
    stages = {name.removeprefix("vid/"): array for name, array in golden.io.items() if name.startswith("vid/")}
    comparisons = {one.stage: one for one in compare_losses(golden, {"vid": stages})}
    assert_agree(list(comparisons.values()))
    assert {f"{call}/{loss}" for call in ("vid", "vid2") for loss in ("lm_loss", "lb_loss", "total_loss")} < comparisons.keys()


def test_a_parameter_that_no_step_moves_counts_as_trained_nowhere() -> None:
    golden = golden_sets.load("A")
    recorded = recordings.load_training(golden_sets.GOLDENS, "A")
    norms = dict(zip(recorded["grad_names"].tolist(), recorded["grad_norms"], strict=True))
    run = TrainingRun(
        losses={name: recorded[name].tolist() for name in ("total_loss", "lm_loss", "lb_loss")},
        coefficients=recorded["aux_lambda_after"],
        hae_weights=recorded["aux_alignment_weight"],
        first_gradients={key: recorded.get(f"grad/{key}", np.array([norm])) for key, norm in norms.items()},
        final={key: recorded[f"final/{key}"] for key in recorded["final_names"].tolist()},
        first_lm_loss=float(recorded["lm_loss"][0]),
    )
    bias = golden.state_dict["project_up.bias"]
    for final, verdict in ((bias, AGREES), (bias + 1, DIFFERS)):
        changed = dataclasses.replace(run, final={**run.final, "project_up.bias": final})
        comparisons = {one.stage: one for one in compare_training(golden, recorded, changed)}
        assert comparisons.pop("train/final_names").verdict == verdict
        assert_agree(list(comparisons.values()))


def test_exit_status_and_report(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = directory.parent / "reports" / "report.json"
    assert verify.main([*_arguments(directory), "--report", str(report)]) == 0
    assert "0 differ" in capsys.readouterr().out
    text = report.read_text()
    written = json.loads(text)
    assert written["agrees"] and written["first_difference"] is None and written["software"]["jax"]
    assert written["files"].keys() == {"odd_config.json", "odd_io.npz"} and written["recorded_with"] == {"torch": "none"}
    assert str(directory.parent) not in text and platform.node() not in text
    _change_weight(directory, "project_up.bias")
    assert verify.main([*_arguments(directory), "--report", str(report)]) == 1
    assert "look at vid/project_up_out first" in capsys.readouterr().out
    written = json.loads(report.read_text())
    assert not written["agrees"] and written["first_difference"] == "vid/project_up_out"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("in/video", lambda array: array[..., :-1], r"has the shape .* \(B = 2, N = 1, T = 2, 3, 24, 24\)"),
        ("in/video", lambda array: array[:, 0], "in/video of the set odd has the shape"),
        ("in/attention_mask", lambda array: array[:, 1:], r"in/attention_mask .* \(B = 2, S = 13\)"),
        ("in/instr_input_ids", lambda array: array[:1], r"\(B \* N = 2, L\)"),
        ("in/input_ids", lambda array: array.astype(np.float32), "holds float32 and no integers"),
        ("in/video_idx", np.zeros_like, r"marks \[0, 0\] places in its rows, where 1 clips have 5 tokens"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(name: str, change: Callable, message: str) -> None:
    config = recordings.model_config(synthetic_sets.INFO)
    inputs = synthetic_sets.make_inputs(config)
    changed = Recording(synthetic_sets.NAME, synthetic_sets.INFO, config, {}, inputs | {name: change(inputs[name])})
    with pytest.raises(UserError, match=message):
        next(compare_recording(changed))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda folder: [*_arguments(folder), "--report", str(folder)], "is a folder"),
        (lambda folder: ["--goldens", str(folder), "--name", "B"], "there are: odd"),
        (lambda folder: [*_arguments(folder), "--train"], "odd_train.npz does not exist"),
        (lambda folder: ["--checkpoint", str(folder / "none"), "--io", str(folder / "odd_io.npz")], "there is nothing at"),
        (lambda folder: [*_arguments(folder), "--checkpoint", str(folder)], "give either"),
        (lambda folder: ["--checkpoint", str(folder)], "needs --io"),
        (lambda folder: ["--goldens", str(folder)], "needs --name"),
    ],
)
def test_what_cannot_be_done_exits_with_2(directory: Path, arguments, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        verify.main(arguments(directory))
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_nothing_to_compare_is_no_success(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(directory / "odd_io.npz", **{"gen/greedy_ids": np.zeros((1, 12))})
    with pytest.raises(SystemExit) as stopped:
        verify.main(_arguments(directory))
    assert stopped.value.code == 2 and "nothing in" in capsys.readouterr().err


def test_checkpoints_of_the_original_and_converted_ones(directory: Path, recorded: tuple[Path, Recording]) -> None:
    io = directory / "odd_io.npz"
    original = directory / "odd_state_dict.safetensors"
    assert_agree(list(compare_recording(load_checkpoint(original, io))))  # sizes from the file beside it
    convert([original], directory / "weights", recorded[1].config, "float32")
    moved = directory / "elsewhere.npz"
    io.rename(moved)
    converted = load_checkpoint(directory / "weights", moved, directory / "odd_config.json")
    assert converted.config == recorded[1].config
    comparisons = list(compare_recording(converted))
    assert_agree(comparisons)
    assert any(one.stage == "vid/logits" and one.verdict == AGREES for one in comparisons)


def test_what_training_adds_may_be_missing_and_nothing_else(recorded: tuple[Path, Recording]) -> None:
    config = recorded[1].config
    routers = [f"qformer/layer_1/self_attention/head_router/{leaf}" for leaf in ("router/kernel", "router/bias", "mixing/kernel")]
    bare = without(config, ["subject_tokens", *routers, "language_model/added_embedding", "language_model/added_head"], Path("x"))
    assert bare.qformer.num_subject_tokens == 0 and bare.qformer.routed_modules == () and bare.language_model.num_added_tokens == 0
    plain = without(config, ["language_model/layers/mlp/up_proj/lora_a", "language_model/layers/mlp/up_proj/lora_b"], Path("x"))
    assert set(config.language_model.lora.targets) - set(plain.language_model.lora.targets) == {"up_proj"}
    with pytest.raises(UserError, match="x lacks project_up/bias"):
        without(config, ["project_up/bias", "subject_tokens"], Path("x"))


def test_values_that_are_not_finite_never_agree() -> None:
    good = np.ones(3)
    bad = np.array([1, np.nan, 1])
    assert compare("a", bad, good).verdict == compare("a", good, bad).verdict == compare("a", bad, bad).verdict == DIFFERS
    assert compare("a", np.array([np.inf, 1, 1]), good).verdict == DIFFERS
    assert compare("a", good, np.array(["x", "y", "z"])).note == "recorded as <U1"


@pytest.mark.parametrize(
    ("errors", "tolerance", "verdict"),
    [
        ([0, 1.9e-3], Tolerance(of_maximum=2e-5), AGREES),
        ([0, 2.1e-3], Tolerance(of_maximum=2e-5), DIFFERS),
        ([0, 2e-5], Tolerance(of_each=1e-5), DIFFERS),
        ([9e-4, 0], Tolerance(of_each=1e-5), AGREES),
        ([0, 0.1], Tolerance(absolute=0.11), AGREES),
        ([0, 1e-9], Tolerance(), DIFFERS),
    ],
)
def test_tolerances(errors: list[float], tolerance: Tolerance, verdict: str) -> None:
    expected = np.array([100.0, 1.0])
    assert compare("a", expected + np.array(errors), expected, tolerance).verdict == verdict


def test_zeros_are_a_strict_reference() -> None:
    assert compare("a", np.full(2, 1e-9), np.zeros(2)).verdict == DIFFERS
    assert compare("a", np.zeros(2), np.zeros(2)).verdict == AGREES


def test_the_table_shows_trained_parameters_together_but_not_one_that_differs() -> None:
    def row(name: str, value: float):
        return compare(f"train/final/{name}", value, np.ones(()), Tolerance(absolute=0.1))

    rows = summarised([row("a", 1.01), row("b", 1.05), row("c", 2.0), compare("vid/logits", 1.0, np.ones(()))])
    assert [one.stage for one in rows] == ["train/final/*, 2 arrays", "train/final/c", "vid/logits"]
    assert rows[0].max_error == pytest.approx(0.05)
