"""The pixels of a composited clip: a background, a body, a head, perhaps a hat, and one light over all of it."""

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.faces.reader import Outline
from pvchat_jax.synthesis.generators.cutouts import CutOut, Layer, arms_layer, body_layer, hair_layer, hat_layer, head_layer, lightness
from pvchat_jax.synthesis.generators.dyeing import Dye, dressed
from pvchat_jax.synthesis.generators.exchanging import Exchange, put_on
from pvchat_jax.synthesis.generators.facing import bend_face, movement, shift_face
from pvchat_jax.synthesis.generators.reshaping import reshaped
from pvchat_jax.synthesis.segmenting.opencv import import_opencv
from pvchat_jax.synthesis.segmenting.segmenter import Boxes, Part

PLACES = ("left", "centre", "right")
_PLACE_X = (0.25, 0.5, 0.75)  # of the picture's width
_JITTER = 2 / 128  # of the width, by which nobody stands quite where they should
_BLURRED = 0.2
_HEAD_GAIN = (0.97, 1.03)  # of the head beside the body
_GAIN = (0.88, 1.1)  # as a single video is as light or dark as it is
_GAIN_CHANGES = 0.04
_LIKELY = (0.75, 1.33)  # ratios of two videos' light
_ZOOM, _AS_IT_IS = (0.94, 1.06), 0.5


class Member(NamedTuple):
    """Somebody whose video may lend a body or a background.

    Attributes:
      key: of the source, its sha256.
      figure: bodies of the same figure can be exchanged, between skins as well if necks show them; empty where that is unknown.
      scene: where the video was filmed, empty if unknown.
      cut: the cut-out.
      lends: whether the body can be lent: not one under long hair.
      own_body: whether the performer may be seen with the body of the same video.
      head: hats can be exchanged between heads of the same shape; empty where that is unknown. hat: the hat worn, empty for none.
      outline: of the head; None where that is unknown.
      skin: parts of faces can be exchanged between heads of the same shape and skin; empty where that is unknown.
      features: what each of `exchanging.REGIONS` and the hair look like, by name.
      face_moves: whether the head nods or turns in the video.
      shows: what of the body is the same in every clip with it, such as the action and the kind of clothes; empty where unknown.
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
    shows: tuple[str, ...] = ()
    skin: str = ""
    outline: Outline | None = None
    features: Mapping[str, str] = MappingProxyType({})


class Plan(NamedTuple):
    """What a clip is put together from.

    Attributes:
      clothes: whose clothes lend their colour; the body itself, where it keeps its own. cloth, skin: how the body is dyed.
      crown: whose hat is put on, or whose hair is shown instead of a hat; None where the performer's head stays as it is.
      place: one of `PLACES`, or empty for somebody who walks.
      face: how the face moves within the head, as `facing.movement` has it, or empty.
      mirrored_time: plays backwards.
      exchange: what is put on the head.
      outlines: which outlines the head gets, one after the other; the own one is the first, and a single one changes nothing.
      hatted: whether the performer wears a hat, which has to go under another.
    """

    body: Member
    clothes: Member
    cloth: Dye | None
    skin: Dye | None
    crown: Member | None
    background: Member
    place: str
    bystander: bool
    frozen_head: bool
    face: str
    mirrored_time: bool
    hatted: bool
    exchange: Exchange | None
    outlines: tuple[Outline, ...]


def place_of(cut: CutOut) -> str:
    """Where in the picture the person stands, one of `PLACES`; empty for somebody who walks."""
    if cut.walks:
        return ""
    share = np.median(cut.head_x) / cut.frames.shape[2]
    return PLACES[int(np.argmin(np.abs(np.array(_PLACE_X) - share)))]


def compose(star: Member, plan: Plan, num_frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The clip of a plan with somebody's head, uint8[T, H, W, 3]."""
    performer = star.cut
    body_cut = dressed(plan.body.cut, plan.cloth, plan.skin) if plan.cloth or plan.skin else plan.body.cut
    moments = _moments(len(body_cut.frames), num_frames, rng, plan.mirrored_time)
    frames = _scenery(plan.background.cut, num_frames, rng, keep_person=plan.bystander)
    shift_x, shift_y = _shift(body_cut, plan.place, frames.shape[2], rng)
    # Everybody's head is set on anew, at another moment and in another light, also on the own body: a fitting head must not tell in whose
    # clothes somebody is seen.
    _paint(frames, body_layer(body_cut, moments), np.full(num_frames, shift_x), np.full(num_frames, shift_y))
    boxes = body_cut.boxes[moments] + np.tile([shift_x, shift_y], 2)
    heads = _head_moments(star, num_frames, rng, plan)
    head = head_layer(performer, heads, with_hat=plan.crown is None or not plan.hatted)
    if plan.exchange is not None:
        head = put_on(head, performer, heads, plan.exchange, rng)
    sway = np.zeros((num_frames, 2), int)
    if plan.face:
        moves = movement(performer.boxes[heads], plan.face, rng)
        sway = np.round(moves.head).astype(int)
        if star.features:  # a reader who knows features knows drawn people
            shift_face(head, performer.parts[heads], performer.boxes[heads], moves.face)
        else:
            bend_face(head, performer.boxes[heads], moves.face)
    for before, after in itertools.pairwise(plan.outlines):
        if before != after:
            head = reshaped(head, performer.boxes[heads], before, after)
    layers = [(head, performer, heads)]
    if plan.crown is not None:
        taken = np.repeat(rng.choice(plan.crown.cut.clear), num_frames)
        crown = hat_layer if plan.crown.hat else hair_layer
        layers.insert(len(layers) if plan.crown.hat else 0, (crown(plan.crown.cut, taken), plan.crown.cut, taken))  # hair is under the face
    jitter = rng.uniform(*_HEAD_GAIN)
    for layer, cut, taken in layers:
        gain = jitter * (_relative_light(body_cut, moments, cut, taken) if cut is performer else 1.0)  # others may have another skin
        lit = layer._replace(colours=np.clip(np.round(layer.colours * np.float32(gain)), 0, 255).astype(np.uint8))
        _paint(frames, lit, *(way + moves for way, moves in zip(_way(cut.boxes[taken], boxes), sway.T, strict=True)))
    _paint(frames, arms_layer(body_cut, moments), np.full(num_frames, shift_x), np.full(num_frames, shift_y))
    return _expose(_zoomed(frames, rng), rng)


def _relative_light(over: CutOut, over_taken: NDArray[np.integer], under: CutOut, under_taken: NDArray[np.integer]) -> float:
    """By how much lighter one video is than another, as the necks of two people of one skin show; 1 where they do not."""
    lights = [lightness(cut, taken, cut.parts[taken] == Part.NECK) for cut, taken in ((over, over_taken), (under, under_taken))]
    return float(np.clip(np.nan_to_num(lights[0] / lights[1], nan=1.0), *_LIKELY))


def _way(under: Boxes, over: Boxes) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """By how many pixels heads move, right and down, so that their chins come to where those of others are."""
    across = np.round((over[:, 0] + over[:, 2] - under[:, 0] - under[:, 2]) / 2).astype(int)
    return across, np.round(over[:, 3] - under[:, 3]).astype(int)


def _moments(length: int, num_frames: int, rng: np.random.Generator, backwards: bool = False) -> NDArray[np.integer]:
    """Evenly spaced frames in order of time, or backwards, from a random first one."""
    stride = max(length // num_frames, 1)
    taken = np.minimum(rng.integers(stride) + stride * np.arange(num_frames), length - 1)
    return taken[::-1] if backwards else taken


def _head_moments(star: Member, num_frames: int, rng: np.random.Generator, plan: Plan) -> NDArray[np.integer]:
    """Which frames the head comes from: a single one, or in order of time, of those that show all of it. Who nods or looks around has no
    arm before the face."""
    good = star.cut.clear
    if plan.frozen_head:
        return np.repeat(good[rng.integers(len(good))], num_frames)
    moments = _moments(len(star.cut.frames), num_frames, rng, plan.mirrored_time)
    if star.face_moves:
        return moments
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


def _zoomed(frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """In half of all clips from a little nearer or further away, as a single video shows everybody at one distance; the lower edge, which
    cuts people, stays. As sharp as can be: in blurred clips a model learns to see less than filmed ones show."""
    cv2 = import_opencv()
    factor = rng.uniform(*_ZOOM)
    if rng.random() < _AS_IT_IS:
        return frames
    height, width = frames.shape[1:3]
    matrix = np.array([[factor, 0, (1 - factor) * (width - 1) / 2], [0, factor, (1 - factor) * (height - 1)]])
    how = {"flags": cv2.INTER_LANCZOS4, "borderMode": cv2.BORDER_REPLICATE}
    return np.stack([cv2.warpAffine(frame, matrix, (width, height), **how) for frame in frames])


def _expose(frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light that is new in each clip, and in some a slow shutter."""
    changes = _GAIN_CHANGES * np.sin(2 * np.pi * (rng.random() + rng.uniform(0.05, 0.25) * np.arange(len(frames))))
    frames = frames * (rng.uniform(*_GAIN) + changes).astype(np.float32)[:, None, None, None]
    if rng.random() < _BLURRED:
        frames = (frames + ndimage.shift(frames, (0, 0, rng.choice([-2, -1, 1, 2]), 0), order=0, mode="nearest")) / 2
    return np.clip(np.round(frames), 0, 255).astype(np.uint8)
