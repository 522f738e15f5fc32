"""Draws a person: a half-length figure in flat colours, lit from the left. people.py has the names of everything drawn here."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pvchat_jax.world.people import Identity, Outfit
from pvchat_jax.world.shapes import Canvas, Colour, Coordinate, FloatArray, Mask, capsule, ellipse, mix, polygon, rectangle, rgb
from pvchat_jax.world.staging import HALF_SHOULDERS, HEAD_RADII, SHOULDER_Y, Limb, Placed, face_position, head_position, limb

SKIN: Mapping[str, Colour] = {"pale": rgb("fbdcc4"), "tan": rgb("e3a56c"), "brown": rgb("a9693a"), "dark": rgb("643d28")}
HAIR: Mapping[str, Colour] = {
    "black": rgb("211d2b"),
    "blonde": rgb("f6d145"),
    "ginger": rgb("d9481c"),
    "white": rgb("eef1f4"),
    "blue": rgb("2f6fe0"),
    "pink": rgb("f26bb5"),
}
EYES: Mapping[str, Colour] = {"brown": rgb("5b3216"), "blue": rgb("2f8df5"), "green": rgb("23a845")}
TOP: Mapping[str, Colour] = {
    "red": rgb("d3263a"),
    "orange": rgb("f58220"),
    "yellow": rgb("f7d43a"),
    "green": rgb("2f9e4f"),
    "blue": rgb("2763c9"),
    "purple": rgb("7d3fb0"),
    "pink": rgb("f48cc0"),
    "black": rgb("2b2b33"),
}
PARTS = ("clothes", "neck", "face", "hair", "hat", "arms")  # what a person consists of in a picture
WHITE = rgb("fbf8f1")
INK = rgb("2a2230")
_LAPEL = ((0.0, -4.0), (11.0, -2.0), (4.0, 20.0), (1.0, 16.0))


@dataclasses.dataclass(frozen=True)
class _Head:
    """Where the head is and what it is made of."""

    canvas: Canvas
    identity: Identity
    x: FloatArray
    y: FloatArray
    face_x: FloatArray
    face_y: FloatArray
    scale: float

    @property
    def radii(self) -> tuple[float, float]:
        radius_x, radius_y = HEAD_RADII[self.identity.face]
        return radius_x * self.scale, radius_y * self.scale

    @property
    def square(self) -> bool:
        return self.identity.face == "square"

    @property
    def hair(self) -> Colour:
        return HAIR[self.identity.hair_colour]

    @property
    def skin(self) -> Colour:
        return SKIN[self.identity.skin]

    @property
    def features(self) -> tuple[FloatArray, FloatArray]:
        """Centre of the face, which moves within the head as it turns and nods."""
        return self.x + self.face_x, self.y + self.face_y

    def outline(self, grow: float) -> Mask | None:
        """The head's shape, larger by `grow`."""
        radius_x, radius_y = self.radii
        grow *= self.scale
        return ellipse(self.canvas, self.x, self.y, radius_x + grow, radius_y + grow, square=self.square)


def draw_person(canvas: Canvas, placed: Placed) -> None:
    """Paints a person onto the canvas, which has as many frames as `placed`."""
    for _ in draw_parts(canvas, placed):
        pass


def draw_parts(canvas: Canvas, placed: Placed) -> Iterator[str]:
    """Paints a person part by part, from the back to the front, and says after each which of `PARTS` was painted."""
    identity, outfit, scale = placed.identity, placed.outfit, placed.scale
    (head_x, head_y), (face_x, face_y) = head_position(placed), face_position(placed)
    head = _Head(canvas=canvas, identity=identity, x=head_x, y=head_y, face_x=face_x - head_x, face_y=face_y - head_y, scale=scale)
    trunk = _Trunk(canvas, identity, outfit, placed.x + scale * placed.pose.x, placed.y + scale * placed.pose.y + SHOULDER_Y, scale)
    _hair_behind(head)
    yield "hair"
    _torso(trunk)
    yield "clothes"
    _neck(trunk)
    yield "neck"
    _lapels(trunk)
    yield "clothes"
    _face(head)
    yield "face"
    _hair_in_front(head)
    yield "hair"
    _hat(head, outfit)
    yield "hat"
    for side in (0, 1):
        _arm(canvas, identity, outfit, limb(placed, side), scale)
    yield "arms"


class _Trunk(NamedTuple):
    """Where the trunk is and what it is made of; `x` and `shoulder_y` are float[T]."""

    canvas: Canvas
    identity: Identity
    outfit: Outfit
    x: FloatArray
    shoulder_y: FloatArray
    scale: float

    @property
    def half(self) -> float:
        return HALF_SHOULDERS[self.identity.build] * self.scale

    @property
    def half_neck(self) -> float:
        return (0.36 if self.identity.build == "broad" else 0.42) * self.half


def _torso(trunk: _Trunk) -> None:
    height = 62.0 * trunk.scale
    torso = ellipse(trunk.canvas, trunk.x, trunk.shoulder_y + height - 3, trunk.half, height, square=True)
    trunk.canvas.paint(torso, TOP[trunk.outfit.colour], shade=0.14)
    if torso is not None:
        _pattern(trunk.canvas, torso, trunk.outfit, height, trunk.scale)


def _neck(trunk: _Trunk) -> None:
    canvas, scale, shadow = trunk.canvas, trunk.scale, mix(SKIN[trunk.identity.skin], INK, 0.16)
    canvas.paint(rectangle(canvas, trunk.x, trunk.shoulder_y - 6, trunk.half_neck, 9 * scale), shadow)
    canvas.paint(ellipse(canvas, trunk.x, trunk.shoulder_y + 2, trunk.half_neck, 6 * scale), shadow)


def _lapels(trunk: _Trunk) -> None:
    if trunk.outfit.garment != "jacket":
        return
    for side, corners in ((1.0, _LAPEL), (-1.0, tuple((-lapel_x, lapel_y) for lapel_x, lapel_y in reversed(_LAPEL)))):
        lapel = [(trunk.scale * lapel_x, trunk.scale * lapel_y) for lapel_x, lapel_y in corners]
        shape = polygon(trunk.canvas, lapel, trunk.x + side * trunk.half_neck, trunk.shoulder_y)
        trunk.canvas.paint(shape, mix(TOP[trunk.outfit.colour], INK, 0.35))


def _pattern(canvas: Canvas, torso: Mask, outfit: Outfit, height: float, scale: float) -> None:
    """White stripes, dots or shirt front on the torso."""
    down = torso.dy + np.float32(height)  # units below the shoulders
    if outfit.garment == "striped shirt":
        period = 13.0 * scale
        stripe = np.abs(np.mod(down - np.float32(5 * scale), period) - period / 2) - np.float32(period / 4)
        canvas.paint(torso.times(torso.edge(stripe)), WHITE, shade=0.1)
    elif outfit.garment == "dotted shirt":
        period = 15.0 * scale
        u = np.mod(torso.dx + np.float32(period / 2), period) - np.float32(period / 2)
        v = np.mod(down - np.float32(6 * scale), period) - np.float32(period / 2)
        canvas.paint(torso.times(torso.edge(np.sqrt(np.square(u) + np.square(v)) - np.float32(4.4 * scale))), WHITE, shade=0.1)
    elif outfit.garment == "jacket":
        canvas.paint(torso.times(torso.edge(np.abs(torso.dx) - np.float32(11 * scale))), WHITE, shade=0.1)


def _arm(canvas: Canvas, identity: Identity, outfit: Outfit, arm: Limb, scale: float) -> None:
    """Sleeve and hand."""
    shoulder, elbow, hand = arm
    wrist = (elbow[0] + 0.55 * (hand[0] - elbow[0]), elbow[1] + 0.55 * (hand[1] - elbow[1]))
    sleeve = mix(TOP[outfit.colour], INK, 0.2 if outfit.colour != "black" else 0.45)
    canvas.paint(capsule(canvas, shoulder, elbow, 7.5 * scale), sleeve)
    canvas.paint(capsule(canvas, wrist, hand, 6.0 * scale), SKIN[identity.skin])
    canvas.paint(ellipse(canvas, hand[0], hand[1], 8.0 * scale, 8.0 * scale), SKIN[identity.skin], shade=0.15)
    canvas.paint(capsule(canvas, elbow, wrist, 7.0 * scale), sleeve)


def _face(head: _Head) -> None:
    canvas, scale, skin = head.canvas, head.scale, head.skin
    radius_x = head.radii[0]
    for side in (-1.0, 1.0):
        canvas.paint(ellipse(canvas, head.x + side * radius_x, head.y + 4 * scale, 4.5 * scale, 5.5 * scale), mix(skin, INK, 0.1))
    canvas.paint(head.outline(0.0), skin, shade=0.12)
    x, y = head.features
    eye_y = y - 4.0 * scale
    spread = 0.42 * radius_x
    _facial_hair(head, x, y)
    if head.identity.mark == "blush":
        for side in (-1.0, 1.0):
            canvas.paint(
                ellipse(canvas, x + side * 0.62 * radius_x, y + 7.5 * scale, 5.8 * scale, 5.2 * scale), rgb("e8384f"), opacity=0.85
            )
    if head.identity.mark == "plaster":
        cheek = x + 0.62 * radius_x
        canvas.paint(
            capsule(canvas, (cheek - 5.5 * scale, y + 10.5 * scale), (cheek + 5.5 * scale, y + 6.5 * scale), 4.2 * scale), rgb("12c8b4")
        )
        canvas.paint(ellipse(canvas, cheek, y + 8.5 * scale, 2.6 * scale, 2.6 * scale), WHITE)
    mouth = ellipse(canvas, x, y + 12.5 * scale, 7.5 * scale, 5.2 * scale)
    canvas.paint(mouth.below(0.0) if mouth is not None else None, rgb("8e1f33"))
    canvas.paint(ellipse(canvas, x, y + 5.5 * scale, 2.6 * scale, 2.2 * scale), mix(skin, INK, 0.22))
    spread = max(spread, 9.5 * scale)
    for side in (-1.0, 1.0):
        _eye(head, x + side * spread, eye_y, side)


def _eye(head: _Head, x: Coordinate, y: Coordinate, side: float) -> None:
    """One eye; the lid falls as the face looks down, and on the far side of a face that turns away it closes like a wink."""
    canvas, scale = head.canvas, head.scale
    white = ellipse(canvas, x, y, 7.6 * scale, 7.6 * scale)
    canvas.paint(white, WHITE)
    canvas.paint(ellipse(canvas, x, y, 5.6 * scale, 5.6 * scale), EYES[head.identity.eyes])
    canvas.paint(ellipse(canvas, x, y, 2.2 * scale, 2.2 * scale), INK)
    canvas.paint(ellipse(canvas, x + 2 * scale, y - 2 * scale, 1.3 * scale, 1.3 * scale), WHITE)
    if white is not None:
        turned = np.clip((side * head.face_x / np.float32(scale) - 5) / 4, 0, 1)
        lowered = np.clip((head.face_y / np.float32(scale) - 2) / 5, 0, 1)
        closed = np.maximum(turned, lowered)
        lid = np.float32(7.6 * scale) * (2 * closed - 1) - np.float32(scale) * (closed == 0)  # its edge below the middle of the eye
        canvas.paint(white.above(lid), mix(head.skin, INK, 0.12))


def _facial_hair(head: _Head, x: Coordinate, y: Coordinate) -> None:
    """In the colour of the hair with a dark edge, without which it would be lost on skin of a similar colour."""
    canvas, scale = head.canvas, head.scale
    colour = mix(head.hair, INK, 0.06)
    edge = mix(head.hair, INK, 0.6)
    if head.identity.facial_hair == "beard":
        beard = head.outline(2.0)
        if beard is not None:
            across = np.square((beard.dx - head.face_x) / np.float32(head.radii[0]))
            line = head.face_y + np.float32(scale) * (np.float32(9.5) - np.float32(14.0) * np.square(across))
            canvas.paint(beard.times(beard.edge(line - np.float32(1.8 * scale) - beard.dy)), edge)
            canvas.paint(beard.times(beard.edge(line - beard.dy)), colour, shade=0.1)
    elif head.identity.facial_hair == "moustache":
        for radius, paint in ((5.2, edge), (3.9, colour)):
            for side in (-1.0, 1.0):
                inner, outer = (x + side * 2 * scale, y + 8.5 * scale), (x + side * 11 * scale, y + 11.5 * scale)
                canvas.paint(capsule(canvas, inner, outer, radius * scale), paint)


def _hair_behind(head: _Head) -> None:
    canvas, scale, style = head.canvas, head.scale, head.identity.hair_style
    radius_x, radius_y = head.radii
    shadow = mix(head.hair, INK, 0.12)
    if style == "short":
        back = head.outline(5.5)
        canvas.paint(back.above(3.0 * scale) if back is not None else None, shadow)
    elif style == "bob":
        canvas.paint(ellipse(canvas, head.x, head.y, radius_x + 12 * scale, radius_y + 5 * scale, square=True), shadow)
    elif style == "long":
        canvas.paint(head.outline(7.5), shadow)
        canvas.paint(ellipse(canvas, head.x, head.y + 22 * scale, radius_x + 10 * scale, 30 * scale, square=True), shadow)
    elif style == "curls":
        canvas.paint(ellipse(canvas, head.x, head.y - 6 * scale, radius_x + 13 * scale, radius_y + 9 * scale), shadow)
        for angle in np.linspace(-0.15, np.pi + 0.15, 9):
            curl_x = head.x + np.cos(angle) * (radius_x + 10 * scale)
            curl_y = head.y - 6 * scale - np.sin(angle) * (radius_y + 5 * scale)
            canvas.paint(ellipse(canvas, curl_x, curl_y, 8.5 * scale, 8.5 * scale), shadow)
    elif style == "pigtails":
        for side in (-1.0, 1.0):
            tail_x = head.x + side * (radius_x + 9 * scale)
            canvas.paint(ellipse(canvas, tail_x, head.y + 10 * scale, 9 * scale, 16 * scale), shadow, shade=0.1)
            canvas.paint(ellipse(canvas, head.x + side * (radius_x + 2 * scale), head.y - 5 * scale, 4.5 * scale, 4.5 * scale), WHITE)


def _hair_in_front(head: _Head) -> None:
    """The hair above the forehead, and what falls beside the face; it turns half as far as the face."""
    canvas, scale, style = head.canvas, head.scale, head.identity.hair_style
    radius_x, radius_y = head.radii
    cap = head.outline(4.5)
    if cap is not None:
        u = (cap.dx - 0.5 * head.face_x) / np.float32(radius_x)
        line = 0.4 * head.face_y - np.float32(0.5 * radius_y)
        if style == "short":  # swept to one side
            line = line - 7 * scale * u
        elif style in ("long", "pigtails"):  # parted in the middle
            line = line + scale * (12 * np.abs(u) - 7)
        elif style == "curls":
            line = line + scale * 2.5 * np.cos(9 * u)
        else:  # a straight fringe
            line = line + 4 * scale
        canvas.paint(cap.times(cap.edge(cap.dy - line)), head.hair, shade=0.14)
    for side in (-1.0, 1.0):
        edge_x = head.x + side * (radius_x + 1.0 * scale)
        if style == "bob":
            top, tip = (edge_x + side * 5 * scale, head.y - 10 * scale), (edge_x + side * 8 * scale, head.y + 9 * scale)
            canvas.paint(capsule(canvas, top, tip, 7.0 * scale), head.hair)
        elif style == "long":
            top, tip = (edge_x + side * 4 * scale, head.y - 10 * scale), (edge_x + side * 6 * scale, head.y + 48 * scale)
            canvas.paint(capsule(canvas, top, tip, 6.5 * scale), head.hair)


def _hat(head: _Head, outfit: Outfit) -> None:
    """Covers the top of the head alone, so that hair shows beside it."""
    if outfit.hat == "none":
        return
    canvas, scale = head.canvas, head.scale
    radius_x, radius_y = head.radii
    top = TOP[outfit.colour]
    colour = mix(top, WHITE, 0.1)
    band = mix(top, INK, 0.45) if outfit.colour != "black" else WHITE
    brim_y = head.y - 0.52 * radius_y
    dome = ellipse(canvas, head.x, head.y - 0.42 * radius_y, radius_x + 4.5 * scale, 0.85 * radius_y)
    if dome is not None:
        canvas.paint(dome.above(-0.1 * radius_y), colour, shade=0.14)
        if outfit.hat == "hat":
            canvas.paint(dome.below(-0.32 * radius_y).above(-0.1 * radius_y), band)
    if outfit.hat == "hat":
        canvas.paint(ellipse(canvas, head.x, brim_y, radius_x + 19 * scale, 4.5 * scale), colour, shade=0.1)
    else:
        canvas.paint(ellipse(canvas, head.x + 0.55 * radius_x, brim_y, radius_x, 4.2 * scale), band)
