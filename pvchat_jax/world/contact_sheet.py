"""A picture of a world's people: the subject in the reference video and in others, and below them look-alikes of the tests."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.world.actions import WALK_RIGHT
from pvchat_jax.world.base_questions import feature_in_words
from pvchat_jax.world.people import IDENTITY_VALUES, Identity, Outfit
from pvchat_jax.world.plan import GRADES, Person, VideoPlan, plan_video, reference_video, subject_identity
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
    ("beach", Outfit(colour="red", garment="striped shirt"), "wave", "left", 7),
    ("snow", Outfit(colour="orange", garment="jacket", hat="cap"), "stand", "centre", 0),
    ("kitchen", Outfit(colour="purple", garment="dotted shirt"), "clap", "right", 2),
    ("street", Outfit(colour="yellow", garment="shirt", hat="hat"), WALK_RIGHT, None, 6),
    ("forest", Outfit(colour="blue", garment="jacket"), "raise arms", "centre", 9),
    ("desert", Outfit(colour="black", garment="striped shirt"), "jump", "left", 5),
    ("stage", Outfit(colour="green", garment="dotted shirt", hat="cap"), "nod", "right", 3),
    ("office", Outfit(colour="pink", garment="striped shirt"), "look around", "centre", 3),
)
_FIRST_SEED = 4  # of the arrangements; this one and the next give no blurred picture
_ALIKE_PER_GRADE = 3
_ALIKE_VIDEOS = 200  # tests among which look-alikes are looked for


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
    try:
        write_atomically(path, content.getvalue())
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another place.") from error


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
    _tile(sheet, (MARGIN, top), portrait, _picture(reference_video(seed), portrait))
    _text(draw, MARGIN, top + portrait + 8, f"The one video: {_description(identity)}", 15, FAINT, width=portrait)
    for number, (scene, outfit, action, position, frame) in enumerate(_VIDEOS):
        x = MARGIN + (2 + number % 4) * (TILE + GAP)
        y = top + number // 4 * row
        _tile(sheet, (x, y), TILE, _picture(_plan(identity, outfit, scene, action, position, number), TILE, frame))
        _text(draw, x, y + TILE + 7, f"{SCENE_ANSWERS[scene]}, {ACTION_ANSWERS[action].rstrip('.').lower()}", 15, FAINT, width=TILE)
    _text(draw, MARGIN, second - 48, f"Look-alikes in the tests: not {subject}, but dressed as in the one video", 26, INK)
    look_alikes = [plan for grade in GRADES for plan in _look_alikes(seed, grade)]
    for number, plan in enumerate(look_alikes):
        x = MARGIN + number * (TILE + GAP)
        facing = _plan(plan.person.identity, plan.person.outfit, plan.scene, "stand", "centre", number)
        _tile(sheet, (x, second), TILE, _picture(facing, TILE))
        _text(draw, x, second + TILE + 7, _differences(plan), 15, FAINT, width=TILE)
    return sheet


def _look_alikes(seed: int, grade: int) -> list[VideoPlan]:
    """Tests whose look-alikes of the grade between them differ in as many attributes as possible.

    Other gaits are left out: one picture does not show them.
    """
    plans = [plan_video(seed, "test", index) for index in range(_ALIKE_VIDEOS)]
    left = [plan for plan in plans if len(plan.differences) == grade and "gait" not in plan.differences]
    chosen: list[VideoPlan] = []
    seen: set[str] = set()
    while left and len(chosen) < _ALIKE_PER_GRADE:
        best = max(left, key=lambda plan: len(set(plan.differences) - seen))
        seen |= set(best.differences)
        chosen.append(best)
        left = [plan for plan in left if plan.person.identity != best.person.identity]
    return chosen


def _plan(identity: Identity, outfit: Outfit, scene: str, action: str, position: str | None, seed: int) -> VideoPlan:
    person = Person(identity=identity, outfit=outfit, action=action, position=position)
    seed += _FIRST_SEED
    return VideoPlan(split="train", index=0, seed=seed, role="positive", scene=scene, person=person, bystander=None, differences=())


def _picture(plan: VideoPlan, size: int, frame: int = 0) -> Image.Image:
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
    return ", ".join([f"{identity.skin} skin", hair, *(feature_in_words(name, getattr(identity, name)) for name in rest)])


def _differences(plan: VideoPlan) -> str:
    """Such as `2 differences: blue eyes, a beard`."""
    number = len(plan.differences)
    words = [feature_in_words(name, getattr(plan.person.identity, name)) for name in plan.differences]
    return f"{number} {'difference' if number == 1 else 'differences'}: {', '.join(words)}"
