"""What every backend that finds and describes faces offers to the rest of the synthesis."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Face(NamedTuple):
    """A face in one frame.

    Attributes:
      box: left, top, right, bottom in pixels of the upright frame.
      keypoints: float32[5, 2], the two eyes, the nose and the two corners of the mouth in pixels; None where the backend has none.
      score: of the detector, between 0 and 1.
      embedding: float32[D] of length 1.
    """

    box: tuple[float, float, float, float]
    keypoints: np.ndarray | None
    score: float
    embedding: np.ndarray


@dataclasses.dataclass(frozen=True, order=True)
class Outline:
    """The shape of a skull seen from the front: |x / radius_x| ** order + |y / radius_y| ** order = 1.

    Attributes:
      radius_x, radius_y: as shares of the picture's width and height. order: 2 is an ellipse, and more is squarer.
    """

    radius_x: float
    radius_y: float
    order: float


WALKING = "walking"  # in a figure, for a gait that walking hides
OF_THE_FACE = ("nod", "look around")  # actions that the head's own frames show


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looks:
    """What a reader can say of somebody in a stretch of video besides the face.

    Attributes:
      figure: bodies of the same figure can be exchanged. head: hats can be exchanged between heads of the same shape; hair: and hair
        between those of the same head and hair.
      outline: the shape of the head; None where that is unknown.
      shoulders: half of their width in head radii. hides_body: whether hair lies over it.
      hat: the hat worn, empty for none.
      skin: parts of faces can be exchanged between heads of the same shape and skin.
      features: what the eyes, the lower half of the face (`lower`) and the hair look like.
      truth: `scene`, `outfit`, `action` and `position`, as in `world.plan.VideoPlan.truth`.
    """

    figure: str
    head: str
    hair: str
    shoulders: float
    hides_body: bool
    hat: str
    truth: Mapping[str, Any] = dataclasses.field(hash=False)
    skin: str = ""
    outline: Outline | None = None
    features: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def moves_face(self) -> bool:
        """Whether the head nods or turns."""
        return self.truth["action"] in OF_THE_FACE


class FaceReader(Protocol):
    """A backend.

    Attributes:
      name: name and version of the models, as noted beside everything computed from embeddings; embeddings of different names are
        never compared.
      same_person: cosine similarity from which two faces are taken for one person.
      alike: from this similarity, and below `same_person`, faces are look-alikes.
      fewest_pixels: width or height, the smaller one, from which a face says enough about who it is.
      quality_note: what using this backend means for the training set, one sentence for the user.
    """

    name: str
    same_person: float
    alike: float
    fewest_pixels: int
    quality_note: str

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces in each of `frames`, uint8[H, W, 3] in RGB, largest score first; below a score of 0.5 it may be none."""
        ...
