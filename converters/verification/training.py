"""The recorded steps of training replayed from the recorded weights with the preset `reference`."""

import dataclasses
import functools
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import stage2
from converters.recordings import Arrays, Recording
from converters.state_dict_mapping import Entry, entries
from converters.verification.comparison import GRADIENT, Comparison, Tolerance, compare, compare_names, not_compared
from converters.verification.losses import ADAPTIVE
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import answer_positions
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh, mesh_context
from pvchat_jax.training.partition import split_params, trainable_groups
from pvchat_jax.training.state import create_train_state
from pvchat_jax.training.step import make_train_step, whole_batch_gradients

LOSS = Tolerance(absolute=5e-5)
PARAMETER = Tolerance(absolute=1e-3)
# Of the whole change: at small learning rates PARAMETER would accept no training at all. Measured on the goldens: 1.5e-4.
CHANGE = Tolerance(absolute=0.02)
_GRADIENT_NORM = Tolerance(of_each=1e-3, absolute=1e-7)

_RATES = {"subject_tokens": "personal", "qformer": "qformer", "router": "moh", "lora": "lora"}
_SUMMED = "only the sum over modules is compared, as lb_loss"
_REASONS = {
    "aux_lambda_before": "lambda after the step before",
    "aux_alignment_weight_before": "weight after the step before",
    "aux_active_rate": "seen in aux_lambda_after",
    "aux_lb_loss_ori": _SUMMED,
    "aux_alignment_loss": _SUMMED,
    "aux_all_loss": _SUMMED,
}
_ABOUT_THE_RECORDING = ("_f64", "_f32_vs_f64_maxabs", "_change_maxabs")


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """Our run; parameters by the original's names.

    Attributes:
      losses: of each step, by the recorded names.
      coefficients, hae_weights: float32[steps, M] after each step.
      first_gradients: of the first step, all parameters that train.
      final: parameters that train, after the last step.
      first_lm_loss: before any step.
    """

    losses: dict[str, list[float]]
    coefficients: np.ndarray
    hae_weights: np.ndarray
    first_gradients: Arrays
    final: Arrays
    first_lm_loss: float


def reference_config(golden: Recording, learning_rates: dict[str, float], num_steps: int) -> TrainConfig:
    """The preset `reference` at the sizes, regularisers and learning rates of a recorded set, in float32."""
    preset = stage2.get_config("reference")
    batch_size = golden.io["in/video"].shape[0]
    return dataclasses.replace(
        preset,
        num_steps=num_steps,
        model=golden.config,
        data=dataclasses.replace(preset.data, image_size=golden.config.vision.image_size, batch_size=batch_size),
        optimizer=dataclasses.replace(preset.optimizer, **learning_rates),
        objective=golden.objective,
        compute_dtype="float32",
        frozen_dtype="float32",
    )


def replay(golden: Recording, recorded: Arrays) -> TrainingRun:
    """As many steps as `recorded` has, on its one batch."""
    rates = {group: float(recorded[f"lr/{theirs}"]) for group, theirs in _RATES.items()}
    config = reference_config(golden, rates, len(recorded["total_loss"]))
    model, mesh, batch = build_pvchat(golden.config), make_mesh(config.mesh, devices=jax.devices()[:1]), _batch(golden)
    table = entries(golden.config)
    params = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32), golden.params)
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    trainable, frozen = jax.device_put((trainable, frozen), jax.sharding.NamedSharding(mesh, jax.P()))
    losses: dict[str, list[float]] = {"total_loss": [], "lm_loss": [], "lb_loss": []}
    coefficients, hae_weights = [], []
    with jax.default_matmul_precision("highest"):
        with mesh_context(mesh):
            gradients_of = jax.jit(functools.partial(whole_batch_gradients, model=model, config=config))
            state = create_train_state(trainable, config, mesh)
            gradients, outcome = gradients_of(trainable, frozen, batch, state.spr, jax.random.key(0))
        step = make_train_step(model, config, mesh)
        for _ in range(config.num_steps):
            state, metrics = step(state, frozen, batch)
            losses["total_loss"].append(float(metrics["loss"]))
            losses["lm_loss"].append(float(metrics["lm_loss"]))
            losses["lb_loss"].append(float(metrics["spr_loss"] + metrics["hae_loss"]))
            coefficients.append(np.asarray(state.spr.coefficient))
            hae_weights.append(np.asarray(state.spr.hae_weight))
    return TrainingRun(
        losses=losses,
        coefficients=np.stack(coefficients),
        hae_weights=np.stack(hae_weights),
        first_gradients=_by_key(gradients, table),
        final=_by_key(state.trainable, table),
        first_lm_loss=float(outcome.parts["lm_loss"]),
    )


def _batch(golden: Recording) -> dict[str, jax.Array]:
    rows = {"input_ids": "input_ids", "attention_mask": "attention_mask", "labels": "labels", "video_mask": "video_idx"}
    arrays = {name: golden.io[f"in/{theirs}"][:, None] for name, theirs in rows.items()}
    arrays["answer_positions"] = answer_positions(arrays["labels"], arrays["labels"].shape[-1])
    batch = {name: jnp.asarray(array) for name, array in arrays.items()}
    return batch | {"video": jnp.asarray(golden.clips_last("in/video"))}


def _by_key(tree: dict[str, Any], table: tuple[Entry, ...]) -> Arrays:
    """The leaves of `tree` (any part of the parameters) under the original's names."""
    named: Arrays = {}
    for entry in table:
        node: Any = tree
        for part in entry.path.split("/"):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            named |= entry.to_torch(np.asarray(node))
    return named


def compare_training(golden: Recording, recorded: Arrays, run: TrainingRun) -> Iterator[Comparison]:
    """One comparison per recorded array, inputs left out; stages begin with `train/`."""
    compared = set()
    for comparison in _compare(golden, recorded, run):
        compared.add(comparison.stage.removeprefix("train/"))
        yield comparison
    for name, array in recorded.items():
        if name not in compared and not name.startswith("lr/"):
            reason = "describes the recording" if name.endswith(_ABOUT_THE_RECORDING) else "not known to this version"
            yield not_compared(f"train/{name}", array, _REASONS.get(name, reason))


def _compare(golden: Recording, recorded: Arrays, run: TrainingRun) -> Iterator[Comparison]:
    yield compare_names("train/aux_names", golden.config.qformer.routed_modules, recorded["aux_names"].tolist(), ordered=True)
    if "vid/lm_loss" in golden.io:
        yield compare("train/first lm_loss, beside vid/lm_loss", run.first_lm_loss, golden.io["vid/lm_loss"], LOSS)
    yield from _compare_gradients(recorded, run)
    for name, values in run.losses.items():
        yield compare(f"train/{name}", values, recorded[name], LOSS)
    yield compare("train/aux_lambda_after", run.coefficients, recorded["aux_lambda_after"], ADAPTIVE)
    yield compare("train/aux_alignment_weight", run.hae_weights, recorded["aux_alignment_weight"], ADAPTIVE)
    theirs = recorded["final_names"].tolist()
    yield compare_names("train/final_names", _trained(golden, theirs, run), theirs, ordered=False)
    yield compare("train/final change that differs, as a share", _differing_change(golden, recorded, run), np.zeros(()), CHANGE)
    for name, array in recorded.items():
        key = name.removeprefix("final/")
        if key == name:
            continue
        if _is_true_zero(key):
            yield not_compared(f"train/{name}", array, "its true gradient is 0, and Adam makes moves of rounding noise")
        elif key in run.final:
            yield compare(f"train/{name}", run.final[key], array, PARAMETER)
        else:
            yield not_compared(f"train/{name}", array, "does not train here, see final_names")


def _trained(golden: Recording, theirs: Collection[str], run: TrainingRun) -> list[str]:
    """Parameters that trained here: not those, of which the original changed nothing, that have kept every bit here too.

    The bias of a router whose gates are all shut is one: in the optimizer, at 0, and without a gradient.
    """
    start = _by_key(golden.params, entries(golden.config))
    return [key for key, value in run.final.items() if key in theirs or not np.array_equal(value, start[key])]


def _differing_change(golden: Recording, recorded: Arrays, run: TrainingRun) -> float:
    """Norm of ours - recorded over all final parameters, as a share of the norm of what training changed."""
    start = _by_key(golden.params, entries(golden.config))
    final = {key: recorded[f"final/{key}"] for key in run.final if f"final/{key}" in recorded and not _is_true_zero(key)}
    keys = [key for key in final if final[key].shape == run.final[key].shape]  # the others differ on their own
    apart = sum(np.sum(np.square(run.final[key] - final[key], dtype=np.float64)) for key in keys)
    change = sum(np.sum(np.square(final[key] - start[key], dtype=np.float64)) for key in keys)
    return float(np.sqrt(apart / change)) if change else 0.0


def _compare_gradients(recorded: Arrays, run: TrainingRun) -> Iterator[Comparison]:
    names = recorded["grad_names"].tolist()
    yield compare_names("train/grad_names", run.first_gradients, names, ordered=False)
    for name, array in recorded.items():
        key = name.removeprefix("grad/")
        if key != name and key in run.first_gradients:
            yield compare(f"train/{name}", run.first_gradients[key], array, GRADIENT)
    chosen = [index for index, key in enumerate(names) if key in run.first_gradients and not _is_true_zero(key)]
    norms = [np.linalg.norm(run.first_gradients[names[index]]) for index in chosen]
    yield compare("train/grad_norms", norms, recorded["grad_norms"][chosen], _GRADIENT_NORM)


def _is_true_zero(key: str) -> bool:
    """A constant added to every key changes no softmax, so the loss does not depend on it."""
    return key.endswith("key.bias")
