"""A picture of a world's people: the subject in several videos, look-alikes below, and what their differences are."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pvchat_jax.errors import UserError
from pvchat_jax.world.actions import WALK_RIGHT
from pvchat_jax.world.people import IDENTITY_VALUES, Identity, Outfit, look_alike
from pvchat_jax.world.plan import Person, VideoPlan, subject_identity
from pvchat_jax.world.questions import ACTION_ANSWERS, SCENE_ANSWERS
from pvchat_jax.world.render import render_frames

WIDTH, MARGIN, GAP = 1280, 32, 16
TILE = (WIDTH - 2 * MARGIN - 5 * GAP) // 6  # six tiles across; the portrait takes the place of 2 x 2
CAPTION = 44
RADIUS = 14
_HAIR_NOUNS = ("bob", "curls", "pigtails")
PAPER, INK, FAINT = "#fbfaf7", "#26222b", "#77727d"

# Scene, outfit, action, position and frame of the subject's tiles.
_VIDEOS = (
    ("beach", Outfit(colour="red", garment="striped shirt"), "wave", "left", 3),
    ("snow", Outfit(colour="orange", garment="jacket", hat="cap"), "stand", "centre", 0),
    ("kitchen", Outfit(colour="purple", garment="dotted shirt"), "clap", "right", 4),
    ("street", Outfit(colour="yellow", garment="shirt", hat="hat"), WALK_RIGHT, None, 4),
    ("forest", Outfit(colour="blue", garment="jacket"), "raise arms", "centre", 4),
    ("desert", Outfit(colour="black", garment="striped shirt"), "jump", "left", 1),
    ("stage", Outfit(colour="green", garment="dotted shirt", hat="cap"), "nod", "right", 5),
    ("office", Outfit(colour="pink", garment="striped shirt"), "look around", "centre", 2),
)
_ALIKE_OUTFITS = (
    Outfit(colour="blue", garment="striped shirt"),
    Outfit(colour="orange", garment="shirt"),
    Outfit(colour="green", garment="jacket"),
    Outfit(colour="red", garment="dotted shirt"),
    Outfit(colour="purple", garment="striped shirt"),
    Outfit(colour="black", garment="jacket"),
)


def write_contact_sheet(path: str | Path, *, seed: int, subject: str) -> None:
    """Draws the sheet of the world of `seed` and writes it as a PNG file.

    Raises:
      UserError: `path` has another suffix or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise UserError(f"{path} must have the suffix .png; rename it.")
    if seed < 0:
        raise UserError(f"the seed {seed} is negative; choose 0 or more.")
    content = io.BytesIO()
    draw_contact_sheet(seed, subject).save(content, "PNG")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.getvalue())
        os.replace(temporary, path)
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    finally:
        temporary.unlink(missing_ok=True)


def draw_contact_sheet(seed: int, subject: str) -> Image.Image:
    """Draws the sheet of the world of `seed`."""
    identity = subject_identity(seed)
    row = TILE + CAPTION
    top = MARGIN + 44
    second = top + 2 * row + 68
    sheet = Image.new("RGB", (WIDTH, second + row + MARGIN - 8), PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, MARGIN, MARGIN - 6, f"{subject}: one person, a new outfit, place and action in every video", 26, INK)
    portrait = 2 * TILE + GAP
    plain = Outfit(colour="blue", garment="shirt")
    _tile(sheet, (MARGIN, top), portrait, _frame(identity, plain, "office", "stand", "centre", portrait, 1))
    _text(draw, MARGIN, top + portrait + 8, _description(identity), 15, FAINT, width=portrait)
    for number, (scene, outfit, action, position, frame) in enumerate(_VIDEOS):
        x = MARGIN + (2 + number % 4) * (TILE + GAP)
        y = top + number // 4 * row
        _tile(sheet, (x, y), TILE, _frame(identity, outfit, scene, action, position, TILE, number, frame))
        _text(draw, x, y + TILE + 7, f"{SCENE_ANSWERS[scene]}, {ACTION_ANSWERS[action].rstrip('.').lower()}", 15, FAINT, width=TILE)
    _text(draw, MARGIN, second - 48, f"Look-alikes: not {subject}", 26, INK)
    scenes = tuple(scene for scene, *_ in _VIDEOS)
    for number, other in enumerate(_look_alikes(identity, seed, len(_ALIKE_OUTFITS))):
        x = MARGIN + number * (TILE + GAP)
        image = _frame(other, _ALIKE_OUTFITS[number], scenes[-1 - number], "stand", "centre", TILE, number)
        _tile(sheet, (x, second), TILE, image)
        changes = ", ".join(_value_in_words(name, getattr(other, name)) for name in identity.differences(other))
        _text(draw, x, second + TILE + 7, changes, 15, FAINT, width=TILE)
    return sheet


def _look_alikes(identity: Identity, seed: int, number: int) -> Sequence[Identity]:
    """Look-alikes that between them differ in as many attributes as possible."""
    rng = np.random.default_rng([seed, 3])
    chosen: list[Identity] = []
    seen: set[str] = set()
    while len(chosen) < number:
        candidates = [look_alike(identity, 2, rng) for _ in range(40)]
        candidates = [other for other in candidates if identity.differences(other) not in [identity.differences(one) for one in chosen]]
        best = max(candidates, key=lambda other: len(set(identity.differences(other)) - seen))
        seen |= set(identity.differences(best))
        seen = set() if len(seen) == len(IDENTITY_VALUES) else seen
        chosen.append(best)
    return chosen


def _frame(
    identity: Identity, outfit: Outfit, scene: str, action: str, position: str | None, size: int, seed: int, frame: int = 0
) -> Image.Image:
    person = Person(identity=identity, outfit=outfit, action=action, position=position)
    plan = VideoPlan(split="train", index=0, seed=seed, role="positive", scene=scene, person=person, bystander=None, differences=())
    return Image.fromarray(render_frames(plan, size=size, frames=(frame,))[0])


def _tile(sheet: Image.Image, corner: tuple[int, int], size: int, image: Image.Image) -> None:
    mask = Image.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * size - 1, 4 * size - 1), 4 * RADIUS, fill=255)
    sheet.paste(image, corner, mask.resize((size, size), Image.Resampling.LANCZOS))


def _text(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, size: int, colour: str, width: int | None = None) -> None:
    """Writes `text`, broken into lines where `width` is given."""
    font = ImageFont.load_default(size)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if width is not None and lines[-1] and draw.textlength(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    draw.multiline_text((x, y), "\n".join(lines), colour, font, spacing=3)


def _description(identity: Identity) -> str:
    style = identity.hair_style
    hair = f"{identity.hair_colour} {style}" if style in _HAIR_NOUNS else f"{style} {identity.hair_colour} hair"
    rest = [name for name in list(IDENTITY_VALUES)[3:] if getattr(identity, name) != "none"]
    features = [_value_in_words(name, getattr(identity, name)) for name in rest]
    return ", ".join([f"{identity.skin} skin", hair, *features])


def _value_in_words(attribute: str, value: str) -> str:
    """Such as `blue hair` or `no glasses`."""
    if value == "none":
        return {"eyewear": "no glasses", "facial_hair": "clean-shaven", "mark": "clear cheeks"}[attribute]
    if attribute in ("eyewear", "facial_hair", "mark") or value in _HAIR_NOUNS:
        return value
    return f"{value} {attribute.partition('_')[0]}"
