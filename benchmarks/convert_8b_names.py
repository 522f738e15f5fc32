"""Measures a conversion: memory and speed on a checkpoint with all the names of the 8B model, and fewer numbers in each tensor.

    nice -n 19 python benchmarks/convert_8b_names.py

Makes about 5.5 GB of sharded bfloat16 safetensors in a temporary folder, converts them in a process of its own, and prints a table.
The folder needs twice that space (--folder says where) and is removed at the end.
"""

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

from converters.conversion import convert
from converters.plan import parameter_shapes, tensor_shapes
from converters.state_dict_mapping import EXCUSED_KEYS, entries
from pvchat_jax.models.config import EIGHT_B, PVChatConfig

SHARD_BYTES = 5e8
# All layers, and the vocabulary's tables, which are the largest tensors, as they are; narrower in between.
THINNED = dataclasses.replace(
    EIGHT_B,
    name="8b names",
    vision=dataclasses.replace(EIGHT_B.vision, width=704, num_heads=8, mlp_width=3072),
    language_model=dataclasses.replace(EIGHT_B.language_model, mlp_width=1792),
)
ALLOWED_ABOVE_LARGEST = 1.5e9


def make_checkpoint(folder: Path, config: PVChatConfig) -> tuple[int, int]:
    """Writes shards with an index; returns the bytes of all tensors and of the largest."""
    shapes = {key: allowed[-1] for key, allowed in tensor_shapes(entries(config), parameter_shapes(config)).items()}
    shapes |= {key: (2, 2) for key in EXCUSED_KEYS}
    random, weight_map, total, largest = np.random.default_rng(0), {}, 0, 0
    shard: dict[str, np.ndarray] = {}

    def save() -> None:
        name = f"model-{len(set(weight_map.values())):05d}.safetensors"
        save_file(shard, folder / name)
        weight_map.update(dict.fromkeys(shard, name))
        shard.clear()

    for key, shape in shapes.items():
        shard[key] = random.integers(0, 2**14, size=shape, dtype=np.uint16).view(ml_dtypes.bfloat16)  # any bits below 2.0
        total, largest = total + shard[key].nbytes, max(largest, shard[key].nbytes)
        if sum(tensor.nbytes for tensor in shard.values()) > SHARD_BYTES:
            save()
    save()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return total, largest


def measure(source: Path, destination: Path, dtype: str) -> None:
    """Converts, and prints seconds, seconds of the processor, and the most memory that this process ever held, in bytes."""
    began, used = time.perf_counter(), time.process_time()
    convert([source], destination, THINNED, dtype)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"seconds": seconds, "processor": processor, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made (default: the system's)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the weights (default: bfloat16)")
    parser.add_argument("--measure", type=Path, nargs=2, metavar=("SRC", "DST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments.dtype)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        source = Path(temporary, "original")
        source.mkdir()
        total, largest = make_checkpoint(source, THINNED)
        command = [sys.executable, __file__, "--dtype", arguments.dtype, "--measure", str(source), str(Path(temporary, "weights"))]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        written = sum(file.stat().st_size for file in Path(temporary, "weights").rglob("*") if file.is_file())
    table = Table("what", "measured")
    table.add_row("tensors read", f"{total / 1e9:.2f} GB")
    table.add_row("written", f"{written / 1e9:.2f} GB, {arguments.dtype}")
    table.add_row("time", f"{measured['seconds']:.0f} s, of which {measured['processor']:.0f} s of one processor")
    table.add_row("speed", f"{total / measured['seconds'] / 1e6:.0f} MB/s read")
    table.add_row("largest tensor", f"{largest / 1e9:.2f} GB")
    table.add_row(
        "peak memory", f"{measured['peak_bytes'] / 1e9:.2f} GB (at most {(largest + ALLOWED_ABOVE_LARGEST) / 1e9:.2f} GB allowed)"
    )
    Console().print(table)
    if measured["peak_bytes"] > largest + ALLOWED_ABOVE_LARGEST:
        raise SystemExit("error: the conversion held more memory than allowed")


if __name__ == "__main__":
    main()
