"""Adapters merged into the weights that they adapt, on tensors with the original's key names."""

from collections.abc import Iterator, Mapping

import numpy as np

from converters.state_dict_mapping import LORA_A, LORA_B


def merge_adapters(tensors: Mapping[str, np.ndarray], scale: float) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors without adapters: `W + scale * B @ A`, in float32, where there was one. One merged weight exists at a time.

    A table with more rows than its adapter, which is a head with rows for added names, is changed in the adapter's rows alone.
    """
    for key, weight in tensors.items():
        if key.endswith((LORA_A, LORA_B)):
            continue
        module = key.removesuffix(".weight")
        if module + LORA_A in tensors:
            yield key, _merged(weight, tensors[module + LORA_A], tensors[module + LORA_B], scale)
        else:
            yield key, weight


def _merged(weight: np.ndarray, lora_a: np.ndarray, lora_b: np.ndarray, scale: float) -> np.ndarray:
    """`weight` [out, in], `lora_a` [r, in], `lora_b` [out or fewer, r]."""
    merged = weight.astype(np.float32)  # a copy
    merged[: len(lora_b)] += np.float32(scale) * (lora_b.astype(np.float32) @ lora_a.astype(np.float32))
    return merged
