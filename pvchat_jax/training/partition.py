"""Which parameters train: path patterns to groups, and the two trees of a run.

Gradients, optimizer state and checkpoints exist for the trainable tree alone; everything else is the
frozen tree. The groups are those of docs/reference.md section 8, plus the name row and the upper vision blocks
that the original means to train and does not (its notes a and b).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pvchat_jax.config.schema import TRAINABLE_GROUPS, OptimizerConfig

Params = dict[str, Any]

# First match wins, so the routers come before the rest of the Q-Former.
_GROUP_RULES = (
    (re.compile(r"subject_tokens"), "subject_tokens"),
    (re.compile(r"language_model/added_(embedding|head)"), "name_row"),
    (re.compile(r"language_model/(.*/)?lora_[ab]"), "lora"),
    (re.compile(r"qformer/(.*/)?(router|mixing)/.*"), "router"),
    (re.compile(r"qformer/.*"), "qformer"),
    (re.compile(r"vision_encoder/upper_blocks/.*"), "vision_upper"),
    (re.compile(r".*"), "base"),
)

# Reached by text instructions alone; without them their gradient is zero and AdamW would only decay them.
_INSTRUCTION_ONLY = re.compile(r"qformer/(embeddings/(word|position)|.*/text_ffn)(/.*)?")


def group_of(path: str) -> str:
    """Group of a parameter, one of `TRAINABLE_GROUPS`, from its `/`-joined path."""
    return next(group for pattern, group in _GROUP_RULES if pattern.fullmatch(path))


def trainable_groups(config: OptimizerConfig) -> tuple[str, ...]:
    """Groups with a learning rate above 0, in `TRAINABLE_GROUPS` order."""
    return tuple(group for group in TRAINABLE_GROUPS if config.learning_rates[group] > 0)


def split_params(params: Mapping[str, Any], groups: Collection[str], *, with_instruction: bool = False) -> tuple[Params, Params]:
    """Splits a parameter tree into (trainable, frozen): disjoint nested dicts without empty branches.

    Args:
      params: nested dicts; any leaves, so abstract arrays and shardings split the same way.
      groups: groups that train.
      with_instruction: whether runs feed text to the Q-Former; otherwise its text-only parts are frozen.

    Raises:
      ValueError: a group is unknown.
    """
    unknown = sorted(set(groups) - set(TRAINABLE_GROUPS))
    if unknown:
        raise ValueError(f"unknown parameter groups {unknown}; known are {TRAINABLE_GROUPS}")
    trainable: Params = {}
    frozen: Params = {}
    for path, leaf in _leaves(params):
        unused = not with_instruction and _INSTRUCTION_ONLY.fullmatch(path) is not None
        trains = group_of(path) in groups and not unused
        _insert(trainable if trains else frozen, path, leaf)
    return trainable, frozen


def join_params(trainable: Mapping[str, Any], frozen: Mapping[str, Any]) -> Params:
    """The full tree again.

    Raises:
      ValueError: a parameter is in both trees.
    """
    params: Params = {}
    for tree in (frozen, trainable):
        for path, leaf in _leaves(tree):
            _insert(params, path, leaf)
    return params


def group_labels(params: Mapping[str, Any]) -> Params:
    """The tree of `params` with each leaf's group in its place."""
    labels: Params = {}
    for path, _ in _leaves(params):
        _insert(labels, path, group_of(path))
    return labels


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, child in tree.items():
        if isinstance(child, Mapping):
            yield from _leaves(child, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", child


def _insert(tree: Params, path: str, leaf: Any) -> None:
    *branches, name = path.split("/")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    if name in tree:
        raise ValueError(f"parameter {path} is in both the trainable and the frozen tree")
    tree[name] = leaf
