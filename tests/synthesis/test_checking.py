import json

import numpy as np
import pytest

from pvchat_jax.data.near_duplicates import SeenClips
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.checking import REJECTIONS, CheckLimits, check_clip, count_rejections
from tests.synthesis.stubs import GREEN, ORANGE, RED, SquareGenerator, SquareReader, draw, performer, request

READER = SquareReader()
BEYOND = (0.85, 0.5268, 0.0)  # alike to RED (similarity 0.85) but not the same person
TURNED = [[(RED, 2)]] * 5 + [[(GREEN, 2)]] * 3


def check(frames: np.ndarray, **settings):
    return check_clip(frames, RED, READER, settings.pop("seen", SeenClips()), **settings)


def test_a_good_clip_passes_with_its_measures() -> None:
    checks, rejected = check(draw([(RED, 2), (GREEN, 0)]))
    assert rejected == ""
    assert checks["identity_similarity"] == pytest.approx(1.0, abs=1e-3)
    assert checks["num_matches"] == 1 and checks["face_share"] == 1.0
    assert checks["nearest_duplicate"] is None and checks["rejected_as"] == ""
    json.dumps(checks, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "frames", "settings"),
    [
        ("short", draw([(RED, 2)], num_frames=7), {}),
        ("flat", np.zeros((8, 64, 64, 3), np.uint8), {}),
        ("frozen", draw([(RED, 2)])[:1].repeat(8, 0), {}),
        ("no_face", draw(*[[(RED, 2)]] * 3, *[[]] * 5), {}),
        ("other_person", draw([(GREEN, 2)]), {}),
        ("other_person", draw([(BEYOND, 2)]), {}),
        ("drift", draw(*TURNED), {}),
        ("twice", draw([(RED, 2), (RED, 0)]), {}),
        ("shows_subject", draw([(RED, 2), (GREEN, 0)]), {"unlike": GREEN}),
    ],
)
def test_a_bad_clip_is_rejected_with_a_reason(kind: str, frames: np.ndarray, settings: dict) -> None:
    checks, rejected = check(frames, **settings)
    assert checks["rejected_as"] == kind and kind in REJECTIONS
    assert rejected.endswith(".") and rejected.count("\n") == 0


def test_a_black_frame_among_good_ones_is_found() -> None:
    frames = draw([(RED, 2)])
    frames[-1] = 0
    assert check(frames).checks["rejected_as"] == "flat"


def test_a_look_alike_may_be_shown_as_not_the_subject() -> None:
    """Hard negatives are the point of the training set; only who passes for the subject is refused."""
    checks, rejected = check(draw([(RED, 2)]), unlike=ORANGE)
    assert rejected == "" and checks["subject_similarity"] == pytest.approx(0.8, abs=0.01)


def test_a_still_is_accepted_where_one_is_meant() -> None:
    assert check(draw([(RED, 2)])[:1].repeat(8, 0), still=True).rejected == ""


def test_one_face_found_twice_at_a_place_counts_once() -> None:
    class Doubling(SquareReader):
        def read(self, frames):
            return [[face for face in faces for _ in range(2)] for faces in super().read(frames)]

    assert check_clip(draw([(RED, 2)]), RED, Doubling(), SeenClips()).checks["num_matches"] == 1


def test_faces_are_not_read_where_the_pictures_fail() -> None:
    class Forbidden(SquareReader):
        def read(self, frames):
            raise AssertionError("reading faces is the slow part")

    assert check_clip(np.zeros((8, 64, 64, 3), np.uint8), RED, Forbidden(), SeenClips()).rejected


def test_the_gate_lets_through_what_a_generator_did_right() -> None:
    """Failures are no clips, strangers and copies are rejected, the rest is accepted; and the counts say so."""
    seen, results = SeenClips(), {}
    requests = [request(performer(RED), seed=seed) for seed in (1, 2, 4, 6, 102, 106)]
    for wanted, made in zip(requests, SquareGenerator().make(requests), strict=True):
        if isinstance(made, UserError):
            results[wanted.seed] = "failed"
            continue
        checks, rejected = check_clip(made.frames, wanted.performer.person.embedding, READER, seen)
        results[wanted.seed] = checks
        if not rejected:
            seen.add(f"clip-{wanted.seed}", checks["hash"])
    assert results.pop(1) == "failed"
    kinds = {seed: checks["rejected_as"] for seed, checks in results.items()}
    assert kinds == {2: "", 4: "other_person", 6: "", 102: "", 106: "duplicate"}
    assert results[106]["nearest_duplicate"] == {"clip": "clip-102", "distance": 0.0}
    assert count_rejections([*results.values(), {}]) == {"duplicate": 1, "other_person": 1}


def test_limits_are_the_callers() -> None:
    frames = draw([(RED, 2)], num_frames=5)
    assert check(frames, limits=CheckLimits(min_frames=5)).rejected == ""
