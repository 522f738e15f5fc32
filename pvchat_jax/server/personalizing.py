"""How `python -m pvchat_jax.personalize` and `python -m pvchat_jax.subjects` are called for an enrolment, and whether they can be."""

import sys
from importlib.resources import files
from pathlib import Path

from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.enrolment import Commands

_BASES = ("", "tiny")  # which a processor trains in minutes


def personalize_commands(registry: Path, corpus: Path | None) -> Commands:
    """For drawn people, over the tiny base in the package."""
    config = Path(str(files("configs") / "personalize.py"))
    learn = [sys.executable, "-m", "pvchat_jax.personalize", "--video={video}", "--name={name}", "--out={out}", f"--config={config}:tiny"]
    others = [] if corpus is None else [f"--corpus={corpus.absolute()}"]
    consent = ["--consent_by={consent_by}", "--consent_until={consent_until}"]
    add = [sys.executable, "-m", "pvchat_jax.subjects", "add", "{run}", f"--registry={registry.absolute()}", "--consent={consent}"]
    return Commands(learn=(*learn, *others, *consent), add=tuple(add))


def why_not_here(registry: Registry, corpus: Path | None) -> str:
    """The sentence that says why nobody can be enrolled on the page; empty where people can be.

    Raises:
      UserError: the registry is damaged.
    """
    base = registry.base
    if base is not None and base.weights not in _BASES:
        return (
            f"the people of this registry are over the base {Path(base.weights).name}, which takes accelerators to train on: enrol with "
            "python -m pvchat_jax.personalize there, and add the pack here."
        )
    if corpus is None:
        return "nobody can be learnt without videos of other people: start the server with --corpus=DIR."
    return ""
