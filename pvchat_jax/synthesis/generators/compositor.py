"""Places people cut out of one video into other scenes: the generator that needs no model.

A clip is put together from up to four filmed videos: the performer's head, a body, a background, and perhaps a bystander. The body is
the performer's own with its own movement, or that of somebody of the same figure (a body double), which brings other clothes and
other actions. Whatever is done to the subject is done to everybody else, by the same code, with the same bodies and backgrounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.cutouts import CutOut, Layer, body_layer, hair_layer, hat_layer, head_layer
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip
from pvchat_jax.synthesis.segmentation import Boxes

PLACES = ("left", "centre", "right")
_PLACE_X = (0.25, 0.5, 0.75)  # of the picture's width
_JITTER = 2 / 128  # of the width, by which nobody stands quite where they should
_OWN_BODY = 0.2
_LEAD_BODY = 0.25  # of those who are not the subject; as their figures are often others, both wear the subject's clothes equally often
_HAT = {True: 0.5, False: 0.4}  # of the subject and of the others, some of whom cannot take theirs off
_OTHER_HAT = 0.6  # of those who wear one and go on doing so
_BYSTANDER = 0.15
_FROZEN_HEAD = 0.3
_OWN_FACE = 0.25  # of clips of a subject who nods or looks around in the one video, those in which this is seen
_FACE = 0.35  # of clips, in which the face moves within the head
_TURN, _NOD = 0.4, 0.3  # by up to so many head radii
_BLURRED = 0.2
_GAIN = (0.93, 1.05)
_GAIN_CHANGES = 0.04


class Member(NamedTuple):
    """Somebody whose video may lend a body or a background.

    Attributes:
      key: of the source, its sha256.
      figure: bodies of the same figure can be exchanged; empty where that is unknown.
      scene: where the video was filmed, empty if unknown.
      cut: the cut-out.
      lends: whether the body can be lent: not one under long hair.
      own_body: whether the performer may be seen with the body of the same video.
      head: hats can be exchanged between heads of the same shape; empty where that is unknown. hat: the hat worn, empty for none.
      face_moves: whether the head nods or turns in the video.
      hair: hair that a hat hides can be had from a head of the same shape and hair; empty where that is unknown.
    """

    key: str
    figure: str
    scene: str
    cut: CutOut
    lends: bool = True
    own_body: bool = True
    head: str = ""
    hat: str = ""
    hair: str = ""
    face_moves: bool = False


class Plan(NamedTuple):
    """What a clip is put together from.

    Attributes:
      crown: whose hat is put on, or whose hair is shown instead of a hat; None where the performer's head stays as it is.
      place: one of `PLACES`, or empty for somebody who walks.
      face: how the face moves within the head, `turn`, `nod` or empty. mirrored_time: plays backwards.
      hatted: whether the performer wears a hat, which has to go under another.
    """

    body: Member
    crown: Member | None
    background: Member
    place: str
    bystander: bool
    frozen_head: bool
    face: str
    mirrored_time: bool
    hatted: bool


class Compositor:
    """`generators.generator.ClipGenerator` of cut-outs.

    Args:
      members: everybody whose video may be used, by sha256 of it, performers included.
      lead: key of the subject. Others of the same figure are often seen with the subject's body, so that its clothes tell nothing.
    """

    name = "compositor/1"
    origin = "composited"
    frames_per_second = 8.0

    def __init__(self, members: Mapping[str, Member], lead: str) -> None:
        self._members = dict(members)
        self._lead = self._members[lead]
        self._places = {key: place_of(member.cut) for key, member in self._members.items()}

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        """As the protocol says. `settings` has `body`, `background` (keys) and `scene`, `place`, `bystander`, `own_body`, `hat`,
        `frozen_head`, `face` of the plan."""
        for request in requests:
            try:
                member = self._members[request.performer.source.sha256]
                yield self.make_one(member, request.prompt.scene, request.seed, request.num_frames)
            except UserError as error:
                yield error

    def make_one(self, performer: Member, scene: str, seed: int, num_frames: int) -> MadeClip:
        """The clip of one performer in a scene, or in any if that is empty.

        Raises:
          UserError: there is no other video.
        """
        rng = np.random.default_rng([seed, 7])
        plan = self._plan(performer, scene, rng)
        frames = compose(performer.cut, plan, num_frames, rng)
        settings = {
            "body": plan.body.key,
            "background": plan.background.key,
            "scene": plan.background.scene,
            "place": plan.place,
            "bystander": plan.bystander,
            "own_body": plan.body.key == performer.key,
            "hat": (plan.crown or performer).hat,
            "frozen_head": plan.frozen_head,
            "face": plan.face,
        }
        return MadeClip(frames, settings)

    def _plan(self, performer: Member, scene: str, rng: np.random.Generator) -> Plan:
        others = self._members.values()
        doubles = [m for m in others if m.lends and m.figure and m.figure == performer.figure and m.key != performer.key]
        own = not doubles or (performer.own_body and rng.random() < _OWN_BODY)
        body = performer if own else _pick(doubles, rng)
        if self._lead in doubles and rng.random() < _LEAD_BODY:
            body = self._lead
        own = body is performer
        walks = body.cut.walks
        place = "" if walks else PLACES[rng.integers(3)]
        bystander = place in ("left", "right") and rng.random() < 1.5 * _BYSTANDER
        behind = {"left": "right", "right": "left"}[place] if bystander else place or "centre"
        backgrounds = [m for m in others if m.key not in (performer.key, body.key)]
        if not backgrounds:
            raise UserError("there is no video to take a background from; add videos of other people to the corpus.")
        fitting = [m for m in backgrounds if self._places[m.key] == behind]
        bystander &= bool(fitting)
        fitting = fitting or backgrounds
        background = _pick([member for member in fitting if scene in ("", member.scene)] or fitting, rng)
        crown = self._crown(performer, rng)
        frozen = rng.random() < self._frozen(performer, own)
        face = ("turn", "nod")[rng.integers(2)] if rng.random() < _FACE and (frozen or not performer.face_moves) else ""
        return Plan(
            body=body,
            crown=crown,
            background=background,
            place=place,
            bystander=bystander,
            frozen_head=frozen,
            face=face,
            mirrored_time=not walks and rng.random() < 0.5,
            hatted=bool(performer.hat),
        )

    def _crown(self, performer: Member, rng: np.random.Generator) -> Member | None:
        """Whose hat is put on or whose hair is shown, so that hats tell as little about who it is as clothes do."""
        hats, hair = self._lenders(performer)
        must = self._lead.hat and not self._lenders(self._lead)[1]  # if the subject never bares the head, nobody may
        wears = bool(must) or rng.random() < _HAT[performer.key == self._lead.key]
        if not performer.hat:
            return _pick(hats, rng) if wears and hats else None
        if not wears and hair:
            return _pick(hair, rng)
        return _pick(hats, rng) if hats and rng.random() < _OTHER_HAT else None

    def _frozen(self, performer: Member, own: bool) -> float:
        """Probability of a head that does not move by itself: that a face moves must not tell who it is either."""
        if not performer.face_moves:
            return 0.0 if own else _FROZEN_HEAD
        if performer.key == self._lead.key:
            return 1 - _OWN_FACE
        return 0.0 if self._lead.face_moves else 1.0

    def _lenders(self, performer: Member) -> tuple[list[Member], list[Member]]:
        """Those whose hat fits, and those bareheaded with the same hair."""
        others = [m for m in self._members.values() if m.head and m.head == performer.head and m.key != performer.key]
        return [m for m in others if m.hat], [m for m in others if not m.hat and m.hair == performer.hair]


def place_of(cut: CutOut) -> str:
    """Where in the picture the person stands, one of `PLACES`; empty for somebody who walks."""
    if cut.walks:
        return ""
    share = np.median(cut.head_x) / cut.frames.shape[2]
    return PLACES[int(np.argmin(np.abs(np.array(_PLACE_X) - share)))]


def compose(performer: CutOut, plan: Plan, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The clip of a plan, uint8[T, H, W, 3]."""
    body_cut, own = plan.body.cut, plan.body.cut is performer
    moments = _moments(len(body_cut.frames), num_frames, rng, plan.mirrored_time)
    frames = _scenery(plan.background.cut, num_frames, rng, keep_person=plan.bystander)
    shift_x, shift_y = _shift(body_cut, plan.place, frames.shape[2], rng)
    whole = own and plan.crown is None and not plan.frozen_head and not plan.face
    _paint(frames, body_layer(body_cut, moments, with_head=whole), np.full(num_frames, shift_x), np.full(num_frames, shift_y))
    boxes = body_cut.boxes[moments] + np.tile([shift_x, shift_y], 2)
    heads = moments if own and not plan.frozen_head else _head_moments(performer, num_frames, rng, plan)
    head = head_layer(performer, heads, with_hat=plan.crown is None or not plan.hatted)
    if plan.face:
        _move_face(head, performer.boxes[heads], plan.face, rng)
    layers = [] if whole else [(head, performer, heads)]
    if plan.crown is not None:
        taken = np.repeat(rng.choice(plan.crown.cut.clear), num_frames)
        crown = hat_layer if plan.crown.hat else hair_layer
        layers.insert(len(layers) if plan.crown.hat else 0, (crown(plan.crown.cut, taken), plan.crown.cut, taken))  # hair is under the face
    for layer, cut, taken in layers:
        _paint(frames, layer, *_way(cut.boxes[taken], boxes))
    return _expose(frames, rng)


def _move_face(layer: Layer, boxes: Boxes, how: str, rng: np.random.Generator) -> None:
    """Moves the face within the head, sideways or up and down: most in its middle, and not at all at the head's outline."""
    moments, height, wide = layer.alpha.shape
    margin = wide // 4
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + [margin, 0]
    radii = (boxes[0, 2:] - boxes[0, :2]) / 2
    phases = 2 * np.pi * (rng.random() + rng.uniform(0.3, 0.6) * np.arange(moments))
    way = np.sqrt(radii.prod()) * np.sin(phases)
    for moment in range(moments):
        first, last = np.clip(np.floor(middle[moment] - radii), 0, None).astype(int), np.ceil(middle[moment] + radii).astype(int)
        box = (moment, slice(first[1], min(last[1], height)), slice(first[0], min(last[0], wide)))
        rows, columns = np.mgrid[box[1:]].astype(np.float32)
        x, y = (columns - middle[moment, 0]) / radii[0], (rows - middle[moment, 1]) / radii[1]
        most = way[moment] * np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
        across, down = (_TURN * most, 0.0) if how == "turn" else (0.0, _NOD * most)
        points = [rows - down - first[1], columns - across - first[0]]
        for channel in range(3):
            plane = layer.colours[(*box, channel)]
            plane[...] = np.clip(ndimage.map_coordinates(plane.astype(np.float32), points, order=1, mode="nearest"), 0, 255)


def _way(under: Boxes, over: Boxes) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """By how many pixels heads move, right and down, so that their chins come to where those of others are."""
    across = np.round((over[:, 0] + over[:, 2] - under[:, 0] - under[:, 2]) / 2).astype(int)
    return across, np.round(over[:, 3] - under[:, 3]).astype(int)


def _pick(members: Sequence[Member], rng: np.random.Generator) -> Member:
    return members[rng.integers(len(members))]


def _moments(length: int, num_frames: int, rng: np.random.Generator, backwards: bool = False) -> NDArray[np.integer]:
    """Evenly spaced frames in order of time, or backwards, from a random first one."""
    stride = max(length // num_frames, 1)
    taken = np.minimum(rng.integers(stride) + stride * np.arange(num_frames), length - 1)
    return taken[::-1] if backwards else taken


def _head_moments(cut: CutOut, num_frames: int, rng: np.random.Generator, plan: Plan) -> NDArray[np.integer]:
    """Which frames the head comes from: a single one, or in order of time, of those that show all of it."""
    good = cut.clear
    if plan.frozen_head:
        return np.repeat(good[rng.integers(len(good))], num_frames)
    moments = _moments(len(cut.frames), num_frames, rng, plan.mirrored_time)
    return good[np.argmin(np.abs(good[None] - moments[:, None]), axis=1)]


def _shift(cut: CutOut, place: str, width: int, rng: np.random.Generator) -> tuple[int, int]:
    """By how many pixels a body moves to stand at `place`; never up, since it ends at the picture's lower edge."""
    jitter = _JITTER * width
    middle = np.mean(cut.head_x) if cut.walks else np.median(cut.body_x)
    target = _PLACE_X[PLACES.index(place) if place else 1] * width
    return round(float(target - middle + rng.uniform(-jitter, jitter))), int(rng.integers(round(jitter) + 1))


def _scenery(cut: CutOut, num_frames: int, rng: np.random.Generator, *, keep_person: bool) -> NDArray[np.float32]:
    """The background, float32[T, H, W, 3], with the person in it or filled in from what is beside the person in each row."""
    moments = _moments(len(cut.frames), num_frames, rng)
    frames = cut.frames[moments].astype(np.float32)
    if keep_person:
        return frames
    for frame, mask in zip(frames, cut.person[moments], strict=True):
        wide = ndimage.binary_dilation(mask, iterations=3)
        wide[wide.all(axis=1)] &= mask[wide.all(axis=1)]
        rows, columns = ndimage.distance_transform_edt(wide, (1000.0, 1.0), return_distances=False, return_indices=True)
        frame[wide] = frame[rows[wide], columns[wide]]
    return frames


def _paint(frames: NDArray[np.float32], layer: Layer, across: NDArray[np.integer], down: NDArray[np.integer]) -> None:
    """Paints a layer onto frames, moved by `across` and `down` pixels in each; where it is moved down its first row goes on upwards."""
    height, width = frames.shape[1:3]
    margin = (layer.alpha.shape[2] - width) // 2
    for frame, colours, alpha, x, y in zip(frames, layer.colours, layer.alpha, across, down, strict=True):
        left = margin - int(np.clip(x, -margin, margin))
        y = int(y)
        to_rows, of_rows = slice(max(y, 0), min(height + y, height)), slice(max(-y, 0), min(height - y, height))
        cover = alpha[of_rows, left : left + width, None]
        region = frame[to_rows]
        region += cover * (colours[of_rows, left : left + width].astype(np.float32) - region)


def _expose(frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light that is new in each clip, and in some a slow shutter."""
    changes = _GAIN_CHANGES * np.sin(2 * np.pi * (rng.random() + rng.uniform(0.05, 0.25) * np.arange(len(frames))))
    frames = frames * (rng.uniform(*_GAIN) + changes).astype(np.float32)[:, None, None, None]
    if rng.random() < _BLURRED:
        frames = (frames + ndimage.shift(frames, (0, 0, rng.choice([-2, -1, 1, 2]), 0), order=0, mode="nearest")) / 2
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)
