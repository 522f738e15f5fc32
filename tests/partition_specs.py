"""Which mesh axes split which parameter of the full model, for the golden file of tests/test_sharding_golden.py.

After a change that is meant: `python -m tests.partition_specs` writes the file anew, and the review shows the difference.
"""

import json
from pathlib import Path

import jax
from flax.traverse_util import flatten_dict
from jax.sharding import AbstractMesh, AxisType

from configs import stage2
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import MESH_AXES
from pvchat_jax.training.initialise import abstract_params

GOLDEN = Path(__file__).parent / "goldens" / "partition_specs_8b.json"
MESHES = ((16, 1, 1), (1, 16, 1), (2, 4, 16))  # the last has more tensor parts than key-value heads


def describe() -> str:
    """JSON with a line for each parameter of the 8B preset: its shape and its PartitionSpec on each of `MESHES`."""
    config = stage2.get_config("8b")
    model = build_pvchat(config.model)
    table: dict[str, dict[str, object]] = {}
    for sizes in MESHES:
        mesh = AbstractMesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))
        for tree in abstract_params(config, model, mesh):
            for path, leaf in flatten_dict(tree, sep="/").items():
                row = table.setdefault(path, {"shape": leaf.shape})
                row["x".join(map(str, sizes))] = list(leaf.sharding.spec)
    lines = (f"{json.dumps(path)}: {json.dumps(table[path])}" for path in sorted(table))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    GOLDEN.write_text(describe(), encoding="utf-8")
