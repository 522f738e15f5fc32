"""What a run says when it starts and when it ends."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax.traverse_util import flatten_dict
from rich.console import Console
from rich.table import Table

from pvchat_jax.config.run_directory import CHECKPOINTS
from pvchat_jax.config.schema import QUESTION_TYPES, TRAINABLE_GROUPS, TrainConfig
from pvchat_jax.data.pipeline import DatasetRows
from pvchat_jax.data.records import LABELS, Record
from pvchat_jax.tracking.trackers import TENSORBOARD
from pvchat_jax.training.initialise import Start
from pvchat_jax.training.metrics import METRICS_FILE
from pvchat_jax.training.partition import Params, group_of

MAX_SET_ASIDE = 5


def parameter_counts(params: Params) -> dict[str, int]:
    """Number of parameters of each group that occurs, in `TRAINABLE_GROUPS` order."""
    counts = Counter[str]()
    for path, leaf in flatten_dict(params, sep="/").items():
        counts[group_of(path)] += leaf.size
    return {group: counts[group] for group in TRAINABLE_GROUPS if group in counts}


def question_counts(records: Sequence[Record]) -> dict[tuple[str, str], int]:
    """(question type, label) to number of questions, without the pairs that do not occur."""
    counts = Counter((question.type, record.label) for record in records for question in record.questions)
    return {(kind, label): counts[kind, label] for kind in QUESTION_TYPES for label in LABELS if (kind, label) in counts}


def print_start(
    console: Console,
    config: TrainConfig,
    mesh: jax.sharding.Mesh,
    start: Start,
    records: Sequence[Record],
    set_aside: Sequence[tuple[Record, str]],
    text: DatasetRows,
) -> None:
    """The table of a run that is about to begin.

    Args:
      records: what is trained on.
      set_aside: videos that cannot be read, each with the reason.
      text: rows of all questions.
    """
    table = Table(title=f"PVChat stage {config.stage}, {config.num_steps} steps", show_header=False, title_justify="left")
    for name, value in _rows(config, mesh, start, records, text).items():
        table.add_row(name, value)
    for index, note in enumerate(start.notes):
        table.add_row("" if index else "start", note)
    console.print(table, markup=False)
    if set_aside:
        console.print(f"{_plural(len(set_aside), 'video')} cannot be read and left out:", markup=False)
        for _, reason in set_aside[:MAX_SET_ASIDE]:
            console.print(f"  {reason}", markup=False, soft_wrap=True)
        if len(set_aside) > MAX_SET_ASIDE:
            console.print(f"  and {len(set_aside) - MAX_SET_ASIDE} more", markup=False)


def _rows(config: TrainConfig, mesh: jax.sharding.Mesh, start: Start, records: Sequence[Record], text: DatasetRows) -> dict[str, str]:
    data = config.data
    rates = config.optimizer.learning_rates
    trained = parameter_counts(start.state.trainable)
    rows = {f"train {group}": f"{_count(size)}, learning rate {rates[group]:g}" for group, size in trained.items()}
    rows["frozen"] = f"{_count(sum(parameter_counts(start.frozen).values()))}, {config.frozen_dtype}"
    axes = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    rows["devices"] = f"{mesh.size} x {mesh.devices.flat[0].device_kind} ({axes}), computing in {config.compute_dtype}"
    rows["batch"] = (
        f"{data.batch_size} videos x {_plural(data.questions_per_video, 'question')} of {text.length} tokens, "
        f"the first {text.prefix_length} in common, "
        f"{_plural(data.num_clips, 'clip')} x {_plural(data.num_frames, 'frame')} of {data.image_size} px"
    )
    if config.stored_features:
        what = "lower half encoded" if config.stored_features == "lower_features" else "encoded"
        draws = f"{_plural(data.draws_per_video, 'draw')} of frames per video"
        rows["features"] = f"{what} before training, {draws}, kept in {config.stored_dtype}"
    present = sum(record.present for record in records)
    rows["videos"] = f"{len(records)}: {present} with {data.subject}, {len(records) - present} without"
    rows["questions"] = _describe_questions(question_counts(records))
    return rows


def _describe_questions(counts: Mapping[tuple[str, str], int]) -> str:
    kinds: dict[str, Any] = {}
    for (kind, label), count in counts.items():
        kinds.setdefault(kind, []).append(f"{count} {label}")
    return "\n".join(f"{kind}: {', '.join(parts)}" for kind, parts in kinds.items())


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _count(size: int) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= factor:
            return f"{size / factor:.3g} {letter} parameters"
    return f"{size} parameters"


def describe_end(config: TrainConfig) -> str:
    """The last line of a run: where everything is."""
    output = Path(config.output_dir)
    return (
        f"finished step {config.num_steps}: checkpoints in {output / CHECKPOINTS}, numbers in {output / METRICS_FILE}, "
        f"curves with tensorboard --logdir {output / TENSORBOARD}"
    )
