"""Turns the original's saved weights into a directory that training reads.

Sources are safetensors files, or .bin, .pt and .pth files of torch.save (these need PyTorch: pip install 'pvchat_jax[torch]'); a
folder may hold one file, several, or several with an index. Their tensors may have the names of

  - the combined checkpoint InternVideo2-Chat-8B-HD, or a state dict that the original PVChat saved (any version of peft);
  - the parts: an InternVideo2-1B video encoder, a Q-Former (of VideoChat2 or BLIP-2), and Mistral-7B-Instruct-v0.3 as on its
    model page or as its consolidated.safetensors. Give each with a --src of its own and name with --part what they are.

Examples:

  python -m converters.from_torch --src InternVideo2_chat_8B_HD --dst weights/8b
  python -m converters.from_torch --src InternVideo2-1B.pt --src qformer.pth --src Mistral-7B-Instruct-v0.3 \\
      --part vision qformer language_model --dst weights/parts

Before anything is written, every tensor must have its place or a reason to be left out, every parameter its tensor, and every
shape must fit. What training creates (routers, LoRA, the subject's tokens and name) may be missing: training starts it from its
seed. With --part, so may the other parts; training refuses to start where it would keep such a part frozen. A video encoder that
was trained on video alone has no position table for single images, and gets the mean of its table over the frames.

Memory stays below the largest tensor of the source plus 1.5 GB. While it works, everything is in DST.partial; when
it is stopped, the same command continues. DST appears when all is done, with tokenizer files that lay beside the language model in
DST/tokenizer, and DST/weights.json, which lists every tensor with its sha256 and everything that was left out, with the reason.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from converters.conversion import DTYPES, UNFINISHED_SUFFIX, WEIGHTS_FILE, Converted, convert
from converters.plan import COMBINED, PARTS, QFORMER
from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.models.config import PRESETS

MAX_NAMES = 8


def report(converted: Converted, destination: Path) -> str:
    """What was done, in a few lines."""
    plan = converted.plan
    lines = [f"wrote {len(plan.leaves)} parameters to {destination} ({'with' if converted.has_tokenizer else 'without'} a tokenizer)"]
    if not converted.has_tokenizer:
        folder = destination / "tokenizer"
        lines.append(f"training needs one: copy tokenizer.json and tokenizer_config.json of the language model to {folder}")
    if plan.initialised:
        lines.append(f"{len(plan.initialised)} parameters are left for training to initialise: {_some(plan.initialised)}")
    lines += [f"{key}: {note}" for key, note in plan.changed.items()]
    reasons = dict.fromkeys(plan.excused.values())
    for reason in reasons:
        keys = [key for key, other in plan.excused.items() if other == reason]
        lines.append(f"not used, {reason}: {_some(keys)}")
    return "\n".join([*lines, f"{destination / WEIGHTS_FILE} lists all of it; fingerprint {converted.fingerprint}"])


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, action="append", required=True, help="folder or file of weights; may be given several times")
    parser.add_argument("--dst", type=Path, required=True, help="directory to create, such as weights/8b")
    parts = (COMBINED, *PARTS.values(), QFORMER)
    parser.add_argument("--part", choices=parts, nargs="+", default=[COMBINED], help="what to convert (default: combined, the whole model)")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="8b", help="sizes of the model (default: 8b)")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16", help="how to store it (default: bfloat16)")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with exit_on_user_error():
        try:
            converted = convert(arguments.src, arguments.dst, PRESETS[arguments.preset], arguments.dtype, arguments.part, console)
        except KeyboardInterrupt:
            print(f"stopped; the same command continues from {arguments.dst}{UNFINISHED_SUFFIX}", file=sys.stderr)
            raise SystemExit(130) from None
        print(report(converted, arguments.dst))


if __name__ == "__main__":
    main()
