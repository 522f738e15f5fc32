"""Finds drawn people and describes them, with the linear readers of the packaged tiny base model.

The counterpart of a detector and an embedding model for the cast. Every vision token of the base says whether it shows a person, and
where that person's head and hands are; the tokens of one person agree on the head, which is how several people are told apart.
What a person's tokens say together about the attributes of identity is the embedding.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.pretraining.readers import NUM_OFFSETS, OFFSET_STEP, pool, read
from pvchat_jax.pretraining.truth import PERSON_CLASSES, POINTS, SCENE_CLASSES
from pvchat_jax.pretraining.vision import encode
from pvchat_jax.synthesis.faces.reader import WALKING, Face, Looks, Outline
from pvchat_jax.training.weights import read_tensors, weights_directory
from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import POSITIONS
from pvchat_jax.world.shapes import UNITS
from pvchat_jax.world.staging import HALF_SHOULDERS, HEAD_RADII

_APART = 0.25  # of the picture's width; heads of one person are seen nearer to each other by all tokens
_MIN_TOKENS = 3  # of a person in a frame
_CLIPS_AT_A_TIME = 8  # a power of two
FIGURE = ("build", "gait")  # what must agree for a body to be lent
_HAIR = ("face", "hair_style", "hair_colour")
_FEATURES = {"eyes": ("eyes",), "lower": ("facial_hair", "mark"), "hair": ("hair_style", "hair_colour")}
_ORDERS = {"square": 4.0}  # of faces that are no ellipses
_HIDES_BODY = "long"  # a hair style


class Seen(NamedTuple):
    """One person in T frames.

    Attributes:
      score: float[T], the mean probability of the person's tokens that they show somebody; 0 in frames without the person.
      points: float[T, 4, 2], x and y of `pretraining.truth.POINTS` as shares of the picture; NaN in frames without the person.
      probabilities: by group of `PERSON_CLASSES`, float[size], of the whole clip.
      scene: what is around, one of `SCENE_CLASSES`.
    """

    score: np.ndarray
    points: np.ndarray
    probabilities: Mapping[str, np.ndarray]
    scene: str

    def most_probable(self, name: str) -> str:
        """The most probable value of a group of `PERSON_CLASSES`."""
        return PERSON_CLASSES[name][int(np.argmax(self.probabilities[name]))]

    @property
    def embedding(self) -> np.ndarray:
        """float32[32] of length 1; the product of two is the mean, over the attributes of identity, of how far the two
        distributions of an attribute's values overlap (Bhattacharyya's coefficient)."""
        parts = [np.sqrt(self.probabilities[name]) for name in IDENTITY_VALUES]
        return (np.concatenate(parts) / np.sqrt(len(parts))).astype(np.float32)

    @property
    def head_boxes(self) -> np.ndarray:
        """float[T, 4], left, top, right, bottom of the skull as shares of the picture."""
        radii = np.array([self._outline.radius_x, self._outline.radius_y])
        centres = self.points[:, POINTS.index("head")]
        return np.concatenate([centres - radii, centres + radii], axis=-1)

    @property
    def _outline(self) -> Outline:
        face = self.most_probable("face")
        radius_x, radius_y = HEAD_RADII[face]
        return Outline(radius_x / UNITS, radius_y / UNITS, _ORDERS.get(face, 2.0))

    @property
    def looks(self) -> Looks:
        """The most probable values, put together."""
        read = {name: self.most_probable(name) for name in PERSON_CLASSES}
        walks = read["action"] in (WALK_LEFT, WALK_RIGHT)
        middle = float(np.nanmedian(self.points[:, POINTS.index("head"), 0]))
        return Looks(
            figure="/".join(WALKING if walks and name == "gait" else read[name] for name in FIGURE),
            head=read["face"],
            hair="/".join(read[name] for name in _HAIR),
            shoulders=HALF_SHOULDERS[read["build"]] / float(np.sqrt(np.prod(HEAD_RADII[read["face"]]))),
            hides_body=read["hair_style"] == _HIDES_BODY,
            hat="" if read["hat"] == "none" else read["hat"],
            skin=read["skin"],
            outline=self._outline,
            features={region: "/".join(read[name] for name in names) for region, names in _FEATURES.items()},
            truth={
                "scene": self.scene,
                "outfit": {"colour": read["top_colour"], "garment": read["garment"], "hat": read["hat"]},
                "action": read["action"],
                "position": None if walks else POSITIONS[int(np.clip(round(4 * middle), 1, len(POSITIONS))) - 1],
            },
        )


class TinyBaseReader:
    """`faces.reader.FaceReader` for drawn people.

    Args:
      weights: as in `TrainConfig.weights`, of a base model with readers.
      config: gives the sizes of the model and of its input.

    Raises:
      UserError: the weights cannot be read or have no readers.
    """

    # Two people with one difference overlap in 8 of 9 attributes.
    same_person = 0.95
    alike = 0.7
    fewest_pixels = 20
    quality_note = "The tiny base model reads drawn people alone; filmed people need insightface."

    def __init__(self, weights: str, config: TrainConfig) -> None:
        folder = weights_directory(weights)
        self._params = read_tensors(folder, ("vision_encoder/", "vision_norm/", "readers/"))
        if "readers" not in self._params:
            raise UserError(f"the weights in {folder} have no readers of people's looks; take those of python -m pvchat_jax.pretrain.")
        self._config = config
        self._model = build_pvchat(config.model)
        self.name = f"tiny_base/{weights}"

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """As the protocol says; frames of one call count as consecutive frames of one shot, since gait shows over time alone."""
        height, width = frames[0].shape[:2]
        scale = np.array([width, height, width, height])
        faces: list[list[Face]] = [[] for _ in frames]
        for seen in self.watch(np.stack(frames)):
            boxes = seen.head_boxes * scale
            for moment in np.flatnonzero(seen.score):
                box = tuple(float(value) for value in boxes[moment])
                faces[moment].append(Face(box, None, float(seen.score[moment]), seen.embedding))
        return [sorted(found, key=lambda face: -face.score) for found in faces]

    def look(self, frames: np.ndarray, boxes: np.ndarray) -> Looks | None:
        """What can be said of the person whose head is in `boxes` float[T, 4] of consecutive frames uint8[T, H, W, 3]; None if nobody
        is seen there."""
        middle = np.mean(boxes[:, [0, 2]]) / frames.shape[2]
        people = self.watch(frames)
        return min(people, key=lambda seen: abs(np.nanmean(seen.points[:, POINTS.index("head"), 0]) - middle)).looks if people else None

    def watch(self, frames: np.ndarray) -> list[Seen]:
        """The people in consecutive frames uint8[T, H, W, 3], the one who is seen best first."""
        return self.watch_many([frames])[0]

    def watch_many(self, videos: Sequence[np.ndarray]) -> list[list[Seen]]:
        """`watch` of several videos, which takes less time together."""
        num_frames = self._config.data.num_frames
        moments = [_clips_of(len(frames), num_frames) for frames in videos]
        size = self._config.data.image_size
        clips = [
            preprocess_frames(frames[taken], size, (1, 1))[0] for frames, parts in zip(videos, moments, strict=True) for taken in parts
        ]
        outputs = self._read_clips(np.stack(clips))
        people, first = [], 0
        for frames, parts in zip(videos, moments, strict=True):
            own = {name: values[first : first + len(parts)] for name, values in outputs.items()}
            people.append(_people_of(own, parts, len(frames)))
            first += len(parts)
        return people

    def _read_clips(self, clips: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of all readers, float[B, T * L, size] each."""
        parts = []
        for first in range(0, len(clips), _CLIPS_AT_A_TIME):
            batch = clips[first : first + _CLIPS_AT_A_TIME]
            size = 1 << (len(batch) - 1).bit_length()  # few sizes are compiled, and a clip alone need not wait for others
            padded = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
            outputs = self._compiled(self._params, jnp.asarray(padded))
            parts.append({name: np.asarray(values)[: len(batch)] for name, values in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @functools.cached_property
    def _compiled(self) -> Any:
        def outputs_of(params: Mapping[str, Any], clips: jax.Array) -> dict[str, jax.Array]:
            outputs = read(params["readers"], encode(self._model, params, clips)[:, 1:])
            logits = outputs["offsets"].reshape(*outputs["offsets"].shape[:-1], len(POINTS), 2, NUM_OFFSETS)
            steps = jnp.arange(NUM_OFFSETS) - NUM_OFFSETS // 2
            offsets = jnp.sum(jax.nn.softmax(logits, axis=-1) * steps, axis=-1) * OFFSET_STEP
            kept = {name: outputs[name] for name in ("occupied", "trust", "scene", *PERSON_CLASSES)}
            return kept | {"offsets": offsets}

        return jax.jit(outputs_of)


def _clips_of(num_frames: int, per_clip: int) -> list[np.ndarray]:
    """Numbers of the frames of each clip that together hold every frame: evenly spaced, each clip from another first one."""
    stride = -(-num_frames // per_clip)
    return [np.minimum(first + stride * np.arange(per_clip), num_frames - 1) for first in range(stride)]


def _people_of(outputs: Mapping[str, np.ndarray], moments: Sequence[np.ndarray], num_frames: int) -> list[Seen]:
    """The people in a video from the readers' outputs on its clips."""
    per_frame = outputs["occupied"].shape[1] // len(moments[0])
    grid = round(per_frame**0.5)
    occupied = np.asarray(jax.nn.softmax(outputs["occupied"], axis=-1))[..., 1]
    centres = (np.arange(grid) + 0.5) / grid
    here = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 1, 2)
    points = outputs["offsets"] + np.tile(here, (len(moments[0]), 1, 1))  # [C, T * L, 4, 2]
    owner = _owners(occupied, points[..., 0, 0], per_frame)
    scene = SCENE_CLASSES[int(np.argmax(outputs["scene"].mean(axis=(0, 1))))]
    people = []
    for number in range(owner.max() + 1):
        mine = owner == number
        where, score = np.full((num_frames, len(POINTS), 2), np.nan), np.zeros(num_frames)
        for clip, taken in enumerate(moments):
            for position, moment in enumerate(taken):
                part = slice(position * per_frame, (position + 1) * per_frame)
                chosen = mine[clip, part]
                if chosen.sum() >= _MIN_TOKENS:
                    where[moment] = np.median(points[clip, part][chosen], axis=0)
                    score[moment] = occupied[clip, part][chosen].mean()
        log_weight = np.where(mine, np.log(occupied + 1e-9), -1e9)
        words = {name: values for name, values in outputs.items() if name in PERSON_CLASSES or name == "trust"}
        probabilities = jax.device_get(_said_together(words, log_weight, mine.any(axis=1)))
        people.append(Seen(score, where, probabilities, scene))
    return sorted(people, key=lambda seen: -seen.score.sum())


@jax.jit
def _said_together(outputs: Mapping[str, jax.Array], log_weight: jax.Array, present: jax.Array) -> dict[str, jax.Array]:
    """What the tokens of somebody say in the clips where the person is `present` bool[C]: probabilities float[size] of each group."""
    said = pool(outputs, log_weight)  # [C, size] each
    means = {name: jnp.mean(values, axis=0, where=present[:, None]) for name, values in said.items()}
    return {name: jax.nn.softmax(values) for name, values in means.items()}


def _owners(occupied: np.ndarray, head_x: np.ndarray, per_frame: int) -> np.ndarray:
    """Which person each token shows, int[C, T * L], -1 for none: in a frame, where the heads that tokens see leave a wide gap between
    them there are two people, who are numbered from the left."""
    owner = np.full(occupied.shape, -1)
    for clip in range(len(occupied)):
        for first in range(0, occupied.shape[1], per_frame):
            tokens = first + np.flatnonzero(occupied[clip, first : first + per_frame] > 0.5)
            if len(tokens) < _MIN_TOKENS:
                continue
            order = tokens[np.argsort(head_x[clip, tokens])]
            gaps = np.diff(head_x[clip, order])
            inner = np.arange(_MIN_TOKENS - 1, len(gaps) - _MIN_TOKENS + 1)
            cut = len(order)
            if len(inner) and gaps[inner].max() > _APART:
                cut = int(inner[np.argmax(gaps[inner])]) + 1
            owner[clip, order[:cut]] = 0
            owner[clip, order[cut:]] = 1
    return owner
