"""Takes a trained run to PyTorch, or out of its directory.

    python -m converters.to_torch --run runs/8b/stage2 --to FORM --dst DIR

FORM   what DIR holds
full     the whole model as the original's state dict: safetensors for `load_state_dict(..., strict=True)`
pack     what was learned about the subject alone, for colleagues with the same base weights: it stands for a run
         in --config.init_from=DIR of training and in --run=DIR of evaluation
adapter  the language model's LoRA for `peft.PeftModel.from_pretrained`, and a tokenizer with the subject's name
merged   the language model with LoRA merged for `transformers`, and the tokenizer

RUN may be a pack, except to make one. The base of a run with frozen_dtype int8 is exported as it was before, which differs from
what the run answers with by up to half a step of each weight. Nothing here needs PyTorch.
"""

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from rich.console import Console
from safetensors.numpy import save_file

from converters import hugging_face
from converters.original_model import PEFT_NAMES, original_state_dict
from converters.shards import cast, write_shards
from pvchat_jax.config.schema import DTYPES, MeshConfig
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.files import new_directory
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.initialise import LoadedRun, load_run
from pvchat_jax.training.pack_export import export_pack

FORMS = ("full", "pack", "adapter", "merged")

ADAPTER_README = """\
LoRA of a PVChat language model. The base must first get a row for each added name:

    base = MistralForCausalLM.from_pretrained(BASE)
    tokenizer = AutoTokenizer.from_pretrained(THIS_DIRECTORY)
    base.resize_token_embeddings(len(tokenizer))
    model = PeftModel.from_pretrained(base, THIS_DIRECTORY)
"""


def export(run: Path, form: str, destination: Path, *, dtype: str = "bfloat16", peft_names: str = "old", console: Console) -> str:
    """Writes the newest checkpoint of `run` to `destination` and returns a sentence on what was done.

    The destination appears whole or not at all.

    Args:
      form: one of `FORMS`.
      dtype: of the tensors of `full` and `merged`, and of the head in an `adapter`.
      peft_names: `old` or `new`, of the keys of `full`.

    Raises:
      UserError: the run cannot be read or not be had in this form, or the destination is taken.
    """
    if destination.exists():
        raise UserError(f"{destination} exists already; remove it or choose another --dst.")
    mesh = make_mesh(MeshConfig(data=1), jax.devices("cpu")[:1])
    with new_directory(destination) as directory:
        if form == "pack":
            count = export_pack(run, directory, mesh)
            return f"wrote {destination}: {count} tensors; use it with --config.init_from={destination} or --run={destination}."
        if form == "full":
            return (
                _write_full(directory, load_run(run, mesh, as_floats=True), jnp.dtype(dtype), peft_names, console) + f" to {destination}."
            )
        loaded = load_run(run, mesh, wanted=lambda path: path.startswith("language_model/"), as_floats=True)
        loaded.tokenizer.save(directory)
        write = _write_merged if form == "merged" else _write_adapter
        return write(directory, loaded, dtype, console) + f" to {destination}."


def _write_full(directory: Path, loaded: LoadedRun, dtype: np.dtype, peft_names: str, console: Console) -> str:
    tensors = original_state_dict(loaded.params, loaded.config.model, peft_names)
    _write_tensors(directory, tensors.items(), _num_values(tensors.values()), dtype, console)
    return f"wrote the {len(tensors)} tensors of the original's state dict, with peft's {peft_names} names,"


def _write_merged(directory: Path, loaded: LoadedRun, dtype: str, console: Console) -> str:
    model, params = loaded.config.model, loaded.params["language_model"]
    kept = [value for path, value in flatten_dict(params).items() if path[-1] not in ("lora_a", "lora_b")]
    _write_tensors(directory, hugging_face.merged_tensors(params, model), _num_values(kept), jnp.dtype(dtype), console)
    ids = {"bos_id": loaded.tokenizer.bos_id, "eos_id": loaded.tokenizer.eos_id}
    _write_json(directory / "config.json", hugging_face.mistral_json(model.language_model, **ids, dtype=dtype))
    return "wrote the merged language model and its tokenizer"


def _write_adapter(directory: Path, loaded: LoadedRun, dtype: str, console: Console) -> str:
    model = loaded.config.model
    tensors = hugging_face.adapter_tensors(loaded.params["language_model"], model, jnp.dtype(dtype))
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    _write_json(directory / "adapter_config.json", hugging_face.adapter_json(model.language_model))
    (directory / "README.md").write_text(ADAPTER_README, encoding="utf-8")
    head = ""
    if hugging_face.saves_head(model.language_model):
        head = " with the whole merged head, because peft cannot adapt a head and give it rows,"
    return f"wrote the adapter{head} and its tokenizer"


def _write_tensors(directory: Path, tensors: Iterable, num_values: int, dtype: np.dtype, console: Console) -> None:
    write_shards(directory, cast(tensors, dtype), total_bytes=num_values * np.dtype(dtype).itemsize, console=console)


def _num_values(arrays: Iterable) -> int:
    return sum(math.prod(array.shape) for array in arrays)


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m converters.to_torch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="output directory of a training run")
    parser.add_argument("--to", choices=FORMS, required=True, help="what to make of it")
    parser.add_argument("--dst", type=Path, required=True, help="directory to create")
    parser.add_argument("--dtype", choices=DTYPES, help="how full, merged and an adapter's head are stored (default bfloat16)")
    parser.add_argument("--peft-names", choices=PEFT_NAMES, help="keys of full as before (old, default) or since (new) peft 0.6")
    options = parser.parse_args(arguments)
    if options.dtype and options.to == "pack":
        parser.error("a pack keeps its numbers as they were trained; leave out --dtype")
    if options.peft_names and options.to != "full":
        parser.error("--peft-names is for --to full")
    given = {name: value for name in ("dtype", "peft_names") if (value := getattr(options, name))}
    with exit_on_user_error():
        print(export(options.run, options.to, options.dst, **given, console=Console()))


if __name__ == "__main__":
    main()
