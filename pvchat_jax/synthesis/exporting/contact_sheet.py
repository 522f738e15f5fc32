"""One page that shows what was made of a video: who was found, positives, negatives, rejects with reasons, and the verdict."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pvchat_jax.data.records import LABELS
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.html_report import write_page
from pvchat_jax.evaluation.markup import Section, note, table, text
from pvchat_jax.synthesis.exporting.statistics import Statistics
from pvchat_jax.synthesis.exporting.training_set import TrainingSet, UsedClip
from pvchat_jax.synthesis.exporting.verdict import Verdict
from pvchat_jax.synthesis.records import Clip

SHEET_FILE = "contact_sheet.html"
_NUM_EACH = 24  # clips of a kind that are shown; the page stays below some megabytes
_NUM_FRAMES = 3
_FRAME_SIZE = (144, 120)
_PORTRAIT_SIZE = (160, 160)
_ROLE_TITLES = {"positive": "Clips of {name}", "hard_negative": "Look-alikes", "easy_negative": "Other people"}


def write_contact_sheet(folder: Path, made: TrainingSet, counted: Statistics, verdict: Verdict) -> Path:
    """Writes the page into `folder`, from whose clips it reads frames again, and returns its path."""
    facts = (
        f"From {Path(made.source.video).name} ({made.source.seconds:.1f} s, {made.source.width} x {made.source.height} pixels). "
        f"{made.reader_note}"
    )
    sections = [_people_section(made), *_clip_sections(folder, made), _numbers_section(counted)]
    if made.rejected:
        sections.append(_rejects_section(folder, made, counted))
    if made.set_aside:
        sections.append(_set_aside_section(made))
    path = folder / SHEET_FILE
    tiles = "".join(_tile(*values) for values in _tiles(made, counted))
    write_page(path, f"What was made for {made.subject}", facts, sections, verdict=verdict.sentences(), tiles=tiles)
    return path


def _people_section(made: TrainingSet) -> Section:
    pictures = "".join(
        _picture(Image.fromarray(portrait), f"portrait {number}", _PORTRAIT_SIZE) for number, portrait in enumerate(made.portraits, start=1)
    )
    rows = []
    for person in made.people:
        who = f"person {person.index}" + (f" is {made.subject}" if person.index == made.person.index else "")
        rows.append((who, f"{person.seconds:.1f}", str(len(person.tracks)), str(sum(map(len, person.tracks)))))
    found = table("Who is in the video", ("", "seconds on screen", "tracks", "sightings"), rows)
    return Section("people", f"Who is {made.subject}?", f'<div class="frames">{pictures}</div>{found}')


def _clip_sections(folder: Path, made: TrainingSet) -> list[Section]:
    sections = []
    for role, title in _ROLE_TITLES.items():
        clips = [used for used in made.used if used.clip.role == role]
        shown = _spread(clips, _NUM_EACH)
        cards = "".join(_used_card(folder, used) for used in shown)
        summary = note(f"{len(shown)} of {len(clips)}.") if clips else note("There are none.")
        content = f'{summary}<div class="cards">{cards}</div>' if cards else summary
        sections.append(Section(role, title.format(name=made.subject), content))
    return sections


def _spread(items: Sequence[UsedClip], count: int) -> list[UsedClip]:
    """`count` of `items`, evenly from first to last."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def _used_card(folder: Path, used: UsedClip) -> str:
    first_of_type = {question.type: question for question in reversed(used.questions)}
    asked = "".join(f"<dt>{text(item.question)}</dt><dd>{text(item.answer)}</dd>" for item in first_of_type.values())
    return _card(folder, used.clip, f'<p class="about">{text(_about(used.clip, used.split))}</p><dl>{asked}</dl>')


def _card(folder: Path, clip: Clip, content: str) -> str:
    return f'<article class="card">{_strip(folder, clip)}{content}</article>'


def _about(clip: Clip, *more: str) -> str:
    checks = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in clip.checks.items() if isinstance(value, float)]
    made_of = [str(clip.settings[name]) for name in ("scene", "action") if name in clip.settings]
    return " · ".join([*more, clip.tool, *made_of, *checks, f"seed {clip.seed}", clip.name])


def _rejects_section(folder: Path, made: TrainingSet, counted: Statistics) -> Section:
    counts = table("Rejected clips", ("why", "clips"), [(kind.replace("_", " "), str(number)) for kind, number in counted.rejected.items()])
    badge = '<span class="badge wrong">✗ rejected</span>'
    cards = "".join(
        _card(folder, clip, f'<p class="about">{badge} {text(clip.rejected)}</p><p class="about">{text(_about(clip, clip.role))}</p>')
        for clip in made.rejected[:_NUM_EACH]
    )
    return Section("rejects", "Rejects, with reasons", f'{counts}<div class="cards">{cards}</div>')


def _set_aside_section(made: TrainingSet) -> Section:
    rows = [(item.item, item.stage, item.reason) for item in made.set_aside]
    return Section("set_aside", "Set aside", table("What could not be used", ("what", "stage", "reason"), rows))


def _numbers_section(counted: Statistics) -> Section:
    clips = [(split, *map(str, by_role.values())) for split, by_role in counted.clips.items()]
    tools = [(tool, *(str(by_label[label]) for label in LABELS)) for tool, by_label in counted.tools.items()]
    questions = [(kind, *(str(by_label[label]) for label in LABELS)) for kind, by_label in counted.questions.items()]
    content = table("Clips", ("split", *(role.replace("_", " ") for role in _ROLE_TITLES)), clips)
    content += table("Training clips by tool", ("tool", *LABELS), tools)
    content += table("Training questions", ("type", *LABELS), questions)
    return Section("numbers", "Numbers", content)


def _tiles(made: TrainingSet, counted: Statistics) -> list[tuple[str, str, str]]:
    train = counted.clips["train"]
    negatives = train["hard_negative"] + train["easy_negative"]
    return [
        (str(train["positive"]), "training clips of the subject", f"{counted.kept['present']} of {counted.made['present']} made were kept"),
        (str(negatives), "training clips of others", f"{train['hard_negative']} of them of look-alikes"),
        (str(sum(sum(by.values()) for by in counted.questions.values())), "training questions", "of four types at most"),
        (f"{made.person.seconds:.1f} s", "of the subject on screen", f"of {made.source.seconds:.1f} s"),
    ]


def _tile(value: str, name: str, context: str) -> str:
    return f'<p class="tile"><b>{text(value)}</b>{text(name)}<span>{text(context)}</span></p>'


def _strip(folder: Path, clip: Clip) -> str:
    try:
        frames: np.ndarray = read_frames(folder / clip.video, _NUM_FRAMES).frames  # uint8[T, H, W, 3]
    except UserError:
        return note("The clip can no longer be read.")
    pictures = (
        _picture(Image.fromarray(frame), f"frame {number} of {clip.name}", _FRAME_SIZE) for number, frame in enumerate(frames, start=1)
    )
    return f'<div class="frames">{"".join(pictures)}</div>'


def _picture(image: Image.Image, alt: str, size: tuple[int, int]) -> str:
    image.thumbnail(size)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=80, optimize=True)
    content = base64.b64encode(encoded.getvalue()).decode("ascii")
    return f'<img alt="{text(alt)}" width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{content}">'
