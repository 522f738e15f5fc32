"""What an answer about content says, slot by slot: the inverse of the sentences in questions.py, forgiving about the words around."""

import re
from collections.abc import Mapping

from pvchat_jax.world.people import GARMENTS, HATS, TOP_COLOURS
from pvchat_jax.world.questions import ACTION_ANSWERS, POSITION_ANSWERS, SCENE_ANSWERS, WALK_ANSWERS

SLOTS: Mapping[str, tuple[str, ...]] = {
    "appearance": ("colour", "garment", "hat"),
    "action": ("action",),
    "location": ("scene", "position"),
}


def read_slots(question_type: str, answer: str) -> dict[str, str | None]:
    """The value of each slot of `SLOTS[question_type]`; None where the answer gives none or several.

    No hat in an answer about clothes means the value `none`.
    """
    text = " ".join(re.findall(r"[a-z]+", answer.lower()))
    if question_type == "appearance":
        hat = _only(text, [value for value in HATS if value != "none"])
        has_clothes = _only(text, GARMENTS) is not None
        return {"colour": _only(text, TOP_COLOURS), "garment": _only(text, GARMENTS), "hat": hat or ("none" if has_clothes else None)}
    if question_type == "action":
        return {"action": _only(text, set(ACTION_ANSWERS.values()))}
    places = [*POSITION_ANSWERS.values(), *WALK_ANSWERS.values()]
    return {"scene": _only(text, SCENE_ANSWERS.values()), "position": _only(text, places)}


def _only(text: str, values: object) -> str | None:
    """The only one of `values` that `text` contains; of values that contain each other the longest counts."""
    phrases = {value: " ".join(re.findall(r"[a-z]+", value.lower())) for value in values}
    found = [value for value, phrase in phrases.items() if re.search(rf"\b{phrase}\b", text)]
    longest = [value for value in found if not any(phrases[value] in phrases[other] for other in found if other != value)]
    return longest[0] if len(longest) == 1 else None


def slot_accuracy(question_type: str, answer: str, gold: str) -> float:
    """Share of the gold answer's slots that the answer gets right."""
    said, true = read_slots(question_type, answer), read_slots(question_type, gold)
    return sum(said[name] == value for name, value in true.items()) / len(true)
