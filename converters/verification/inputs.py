"""Recorded inputs, checked before the model runs on them."""

import numpy as np

from converters.recordings import Recording
from pvchat_jax.errors import UserError

Axes = tuple[int | str, ...]


def check_inputs(recording: Recording) -> None:
    """Compares the shapes of `in/*` with the configuration and with each other.

    Raises:
      UserError: one does not fit, ids are no integers, or a row marks another number of places than its clips have tokens.
    """
    io, vision = recording.io, recording.config.vision
    image, text = (3, vision.image_size, vision.image_size), ("B", "S")
    expected: dict[str, Axes] = {
        "in/video": ("B", "N", "T", *image),
        "in/video_image_T1": ("B", "N", 1, *image),
        "in/input_ids": text,
        "in/attention_mask": text,
        "in/labels": text,
        "in/video_idx": text,
        "in/instr_input_ids": ("B * N", "L"),
        "in/instr_attention_mask": ("B * N", "L"),
    }
    sizes: dict[str, int] = {}
    for name, axes in expected.items():
        if name in io:
            _check_shape(recording, name, axes, sizes)
            if len(axes) == 2 and io[name].dtype.kind not in "iub":
                raise UserError(f"{name} of the set {recording.name} holds {io[name].dtype} and no integers; record it again.")
        if name == "in/video" and name in io:
            sizes["B * N"] = sizes["B"] * sizes["N"]
    if {"in/video", "in/video_idx"} <= io.keys():
        places = sizes["N"] * recording.config.qformer.num_visual_tokens
        counts = np.count_nonzero(io["in/video_idx"], axis=1)
        if (counts != places).any():
            raise UserError(
                f"in/video_idx of the set {recording.name} marks {counts.tolist()} places in its rows, where {sizes['N']} clips have "
                f"{places} tokens; record it again with the query tokens of its configuration."
            )


def _check_shape(recording: Recording, name: str, axes: Axes, sizes: dict[str, int]) -> None:
    """Compares with `axes`, numbers or names; a name that `sizes` does not know yet takes the size that it meets."""
    shape = recording.io[name].shape
    if len(shape) == len(axes) and all(
        size == (sizes.setdefault(axis, size) if isinstance(axis, str) else axis) for size, axis in zip(shape, axes, strict=True)
    ):
        return
    wanted = ", ".join(f"{axis} = {sizes[axis]}" if axis in sizes else str(axis) for axis in axes)
    raise UserError(f"{name} of the set {recording.name} has the shape {shape} and should have ({wanted}); record it again.")
