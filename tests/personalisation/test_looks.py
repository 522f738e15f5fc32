"""From what readers say to the subject that clips are drawn of."""

import json
from pathlib import Path

import numpy as np

from pvchat_jax.personalisation.looks import Looks, most_probable, write_looks
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.world.people import IDENTITY_VALUES, Outfit


def sure_of(index: int) -> dict[str, np.ndarray]:
    return {name: np.eye(len(values))[index % len(values)] for name, values in PERSON_CLASSES.items()}


def test_the_likeliest_values_are_believed() -> None:
    looks = most_probable(sure_of(1))
    assert all(getattr(looks.subject.identity, name) == values[1] for name, values in IDENTITY_VALUES.items())
    assert looks.subject.outfit == Outfit(colour="orange", garment="striped shirt", hat="cap")
    assert looks.subject.doubts == {}
    assert set(looks.confidence.values()) == {1.0}


def test_identity_values_that_may_be_true_are_in_doubt_and_outfits_never() -> None:
    read = sure_of(0) | {"hair_style": np.array([0.05, 0.55, 0.4, 0.0, 0.0]), "garment": np.array([0.5, 0.5, 0.0, 0.0])}
    looks = most_probable(read)
    assert looks.subject.identity.hair_style == "bob"
    assert looks.subject.doubts == {"hair_style": ("bob", "long")}


def test_what_was_read_is_written_down(tmp_path: Path) -> None:
    read = sure_of(2) | {"face": np.array([0.3, 0.0, 0.7])}
    looks: Looks = most_probable(read)
    write_looks(tmp_path / "looks.json", looks)
    written = json.loads((tmp_path / "looks.json").read_text())
    assert written["identity"]["face"] == "square"
    assert written["doubts"] == {"face": ["round", "square"]}
    assert written["confidence"]["face"] == 0.7
    assert written["outfit"] == {"colour": "yellow", "garment": "dotted shirt", "hat": "hat"}
