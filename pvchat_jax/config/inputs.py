"""Whether what a run reads exists, asked before anything heavy is imported or built."""

from pathlib import Path

from pvchat_jax.config.pack_manifest import is_pack
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError

PACKAGED_TOKENIZERS = ("", "tiny")
PACKAGED_BASE = "tiny"  # as `weights`: the base model in the package
PACKAGED_BASE_DIRECTORY = Path(__file__).parent.parent / "tiny_base"


def require_inputs(config: TrainConfig) -> None:
    """Checks that every file and directory named in `config` is there.

    Raises:
      UserError: one sentence with all that is missing and the commands that make it.
    """
    missing = []
    tokenizer = "" if config.data.tokenizer in PACKAGED_TOKENIZERS else config.data.tokenizer
    if config.weights != PACKAGED_BASE and _is_absent(config.weights):
        made = " and ".join(path for path in (config.weights, tokenizer) if _is_absent(path))
        missing.append(f"{made} (python -m converters.from_torch --src FOLDER_OF_THE_ORIGINAL_FILES --dst {config.weights})")
    elif _is_absent(tokenizer):
        missing.append(f"a tokenizer in {tokenizer} (copy tokenizer.json and tokenizer_config.json of the language model there)")
    if not config.data.train or _is_absent(config.data.train):
        missing.append(f"records {config.data.train or 'in config.data.train'} ({_how_to_get_records(config)})")
    if config.init_from and not (is_pack(config.init_from) or (Path(config.init_from) / "config.json").is_file()):
        command = f"python -m pvchat_jax.train --config=configs/stage1.py:{config.model.name}"
        missing.append(f"a finished stage-1 run in {config.init_from} ({command})")
    if missing:
        raise UserError(f"this run needs {'; '.join(missing)}.")


def _is_absent(path: str) -> bool:
    return path != "" and not Path(path).exists()


def _how_to_get_records(config: TrainConfig) -> str:
    check = f"python -m pvchat_jax.validate {config.data.train or 'FILE'}"
    if config.model.name == "tiny":
        return f"python -m pvchat_jax.quickstart makes some; check your own JSONL with {check}"
    return f"a JSONL with one video per line; check yours with {check}"
