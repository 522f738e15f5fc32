"""What clips show, from what is known of the filmed videos that they were cut from or put together of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.data.record_files import parse_file
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import OF_THE_FACE, Looks
from pvchat_jax.synthesis.records import Person, Source, sha256_of
from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT

_PLACE_X = {"left": 0.25, "centre": 0.5, "right": 0.75}  # of the picture's width


class Known(NamedTuple):
    """What is known of somebody in a filmed video.

    Attributes:
      looks: None where the reader cannot tell.
      truth: `scene`, `outfit`, `action` and `position`, as in `world.plan.VideoPlan.truth`; empty where nobody knows.
      moves_right: in which direction, if at all.
    """

    looks: Looks | None
    truth: Mapping[str, Any]
    moves_right: bool


class Truths:
    """What files of records tell of drawn videos.

    Args:
      files: records of `python -m pvchat_jax.world`; their videos are recognised by content, wherever they lie.

    Raises:
      UserError: a file cannot be read, or tells the truth of no video.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._by_digest: dict[str, Mapping[str, Any]] = {}
        for file in files:
            located, problems = parse_file(Path(file), None)
            if problems:
                raise UserError(str(problems[0]))
            known = {record.sha256 or sha256_of(Path(record.video)): record.truth for _, record in located if record.truth}
            if not known:
                raise UserError(f"{file} tells the truth of no video; name records of python -m pvchat_jax.world in --config.truth.")
            self._by_digest |= known

    def of(self, source: Source, person: Person, looks: Looks | None) -> Mapping[str, Any]:
        """`Known.truth` of that one of the two people of a drawn video who stands where `person` is."""
        del looks  # which a reader only believes
        truth = self._by_digest.get(source.sha256)
        if truth is None:
            return {}
        boxes = [sighting.box for track in person.tracks for sighting in track]
        middle = sum(box[0] + box[2] for box in boxes) / (2 * len(boxes) * source.width)
        people = [truth, truth["bystander"]] if truth.get("bystander") else [truth]
        here = min(people, key=lambda one: abs(_PLACE_X[one["position"] or "centre"] - middle))
        return {"scene": truth["scene"], **{name: here[name] for name in ("outfit", "action", "position")}}


def shown(settings: Mapping[str, Any], performer: Known, body: Known, background: Known, clothes: Known) -> dict[str, Any]:
    """The truth of a clip that was put together.

    Args:
      settings: as `generators.compositor.Compositor` gives them.
      clothes: in whose colour the body's clothes are.

    Returns:
      As `Known.truth`; `action` is None where a head of one video on a body of another leaves it open.
    """
    if not all(known.truth for known in (performer, body, background, clothes)):
        return {}
    own_hat = performer.looks.hat if performer.looks else ""
    hat = performer.truth["outfit"]["hat"] if settings["hat"] == own_hat else settings["hat"] or "none"
    return {
        "scene": background.truth["scene"],
        "outfit": {**body.truth["outfit"], "colour": clothes.truth["outfit"]["colour"], "hat": hat},
        "action": _action(settings, performer, body),
        "position": settings["place"] or None,
    }


def _action(settings: Mapping[str, Any], performer: Known, body: Known) -> str | None:
    if not settings["place"]:
        return WALK_RIGHT if body.moves_right else WALK_LEFT
    does = str(body.truth["action"])
    if does in (WALK_LEFT, WALK_RIGHT) or settings["face"]:
        return None  # such as misread walking
    if settings["own_body"] and not settings["frozen_head"]:
        return does
    head_moves = performer.truth["action"] in OF_THE_FACE and not settings["frozen_head"]
    if does in OF_THE_FACE or head_moves:
        return str(performer.truth["action"]) if head_moves and does == "stand" else None
    return does


def moves_right(person: Person) -> bool:
    """Whether somebody is further right at the end than at the beginning."""
    track = max(person.tracks, key=len)
    return track[-1].box[0] + track[-1].box[2] > track[0].box[0] + track[0].box[2]
