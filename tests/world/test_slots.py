"""Slots of answers: what the benchmark's content scores are made of."""

import pytest

from pvchat_jax.world.people import all_outfits
from pvchat_jax.world.plan import plan_video
from pvchat_jax.world.questions import ACTION_ANSWERS, appearance_answer, content_answer
from pvchat_jax.world.slots import SLOTS, read_slots, slot_accuracy


def test_reads_back_every_outfit() -> None:
    for outfit in all_outfits():
        assert read_slots("appearance", appearance_answer(outfit)) == {
            "colour": outfit.colour,
            "garment": outfit.garment,
            "hat": outfit.hat,
        }


@pytest.mark.parametrize("kind", SLOTS)
def test_true_answers_have_every_slot(kind: str) -> None:
    for index in range(60):
        plan = plan_video(1, "test", index)
        gold = content_answer(kind, plan.scene, plan.person)
        assert None not in read_slots(kind, gold).values()
        assert slot_accuracy(kind, gold, gold) == 1


@pytest.mark.parametrize(
    ("kind", "answer", "gold", "share"),
    [
        ("appearance", "A red striped shirt.", "A red shirt.", 2 / 3),
        ("appearance", "A red shirt and a cap.", "A red shirt.", 2 / 3),
        ("appearance", "<Wilson> is not here.", "A red shirt.", 0),
        ("appearance", "A red blue green shirt.", "A red shirt.", 2 / 3),
        ("location", "On the beach, on the right.", "On the beach, on the left.", 1 / 2),
        ("location", "On the beach, in the snow, on the left.", "On the beach, on the left.", 1 / 2),
        ("location", "In the street, moving left.", "In the street, on the left.", 1 / 2),
        ("action", "Waving.", "Waving.", 1),
        ("action", "Waving and jumping.", "Waving.", 0),
        ("action", "<Wilson> is not here.", ACTION_ANSWERS["nod"], 0),
    ],
)
def test_counts_slots(kind: str, answer: str, gold: str, share: float) -> None:
    assert slot_accuracy(kind, answer, gold) == pytest.approx(share)
