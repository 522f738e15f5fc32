"""The card as one self-contained page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pvchat_jax.evaluation.calibration_section import calibration_section
from pvchat_jax.evaluation.card.answers_section import Lists, answers_section, list_answers
from pvchat_jax.evaluation.card.card import WHOLE, Card
from pvchat_jax.evaluation.card.comparing import Comparison
from pvchat_jax.evaluation.card.files import shown
from pvchat_jax.evaluation.card.measuring import Number
from pvchat_jax.evaluation.card.slices import KINDS, Slice
from pvchat_jax.evaluation.html_report import tile, write_page
from pvchat_jax.evaluation.interval_chart import draw_intervals
from pvchat_jax.evaluation.markup import Linked, Section, figure, note, table, text
from pvchat_jax.evaluation.metrics.existence import BALANCED_ACCURACY, EXISTENCE_METRICS
from pvchat_jax.evaluation.metrics.metric import Metric

_HEADLINE = ("balanced_accuracy", "auc", "content_accuracy", "bleu_1")
_CONTEXT = {
    "balanced_accuracy": "guessing has 50",
    "auc": "guessing has 0.5",
    "content_accuracy": "where the person is shown",
    "bleu_1": "rises with wording alone",
}
_SMALL = "The small numbers are 95% intervals: {drawn} are drawn with replacement."


def write_card_page(path: Path, card: Card) -> None:
    """Writes the page; an interrupted write leaves the old file."""
    lists = list_answers(card)
    sections = [section for section in _sections(card, lists) if section is not None]
    model = card.models[0]
    whole = card.scores[model.name][WHOLE]
    who = "One model was" if len(card.models) == 1 else f"{len(card.models)} models; the first was"
    facts = (
        f"{who} asked {whole.num_questions} questions about {whole.num_videos} videos and "
        f"{whole.num_subjects} {'person' if whole.num_subjects == 1 else 'people'}. "
        f"Read from {', '.join(card.inputs)}."
    )
    write_page(path, card.title, facts, sections, verdict=card.lead, tiles="".join(_tiles(card, lists)))


def _tiles(card: Card, lists: Lists) -> Iterator[str]:
    """The first model's few numbers that a hurried reader takes away."""
    model = card.models[0]
    numbers = card.scores[model.name][WHOLE].numbers
    for metric in card.instruments.metrics:
        number = numbers[metric.key]
        if metric.key in _HEADLINE and number.value is not None:
            ends = f"95% interval {between}; " if (between := _ends(metric, number)) else ""
            unit = "%" if metric.unit == "percent" else ""
            yield tile(f"{shown(metric, number.value)}{unit}", metric.title, f"{ends}{_CONTEXT[metric.key]}")


def _sections(card: Card, lists: Lists) -> Iterator[Section | None]:
    if card.doubts:
        items = "".join(f"<li>{text(sentence)}</li>" for sentence in card.doubts)
        yield Section("doubts", "What speaks against these numbers", f'<ul class="doubts">{items}</ul>')
    yield _systems_section(card, lists)
    yield from _slice_sections(card, lists)
    if card.compared:
        yield _compared_section(card)
    yield calibration_section([answer for answer in card.models[0].answers if answer.type == "existence"], None)
    if card.leaks is not None:
        yield _leaks_section(card)
    yield _methods_section(card)
    yield answers_section(card, lists)


def _groups(card: Card) -> tuple[tuple[str, Sequence[Metric]], ...]:
    """The metrics of each of two tables; one of all would be too wide."""
    existence = {metric.key for metric in EXISTENCE_METRICS}
    return (
        ("Is the person in the video?", [metric for metric in card.instruments.metrics if metric.key in existence]),
        ("What is said", [metric for metric in card.instruments.metrics if metric.key not in existence]),
    )


def _systems_section(card: Card, lists: Lists) -> Section:
    parts = []
    for title, metrics in _groups(card):
        rows = [(system.name, *_cells(card, lists, system.name, WHOLE, metrics)) for system in card.systems]
        parts.append(
            table(f"{title} (shares in percent)", ("system", *_columns(metrics)), rows, emphasised=len(card.models), style="dense")
        )
    bars = []
    for system in card.systems:
        number = card.scores[system.name][WHOLE].numbers[BALANCED_ACCURACY.key]
        if number.value is not None:
            bars.append((system.name, number.value, number.interval))
    chart = figure("Balanced accuracy, with 95% interval", draw_intervals(bars)) if bars else ""
    against = "".join(_against_table(card, model.name) for model in card.models)
    return Section(
        "systems",
        "Beside what it is held against",
        "".join(parts) + _small_print(card) + f'<div class="pair">{chart}<div>{against}</div></div>',
    )


def _against_table(card: Card, model: str) -> str:
    comparisons = card.against[model]
    if not comparisons:
        return ""
    metrics = [metric for metric in card.instruments.metrics if metric.key in comparisons[0].differences]
    rows = [(one.first, *(_difference(metric, one) for metric in metrics)) for one in comparisons]
    return table(f"How far {model} is above, in points", ("than", *(metric.title for metric in metrics)), rows)


def _difference(metric: Metric, one: Comparison) -> str | Linked:
    found = one.differences[metric.key]
    if found is None:
        return "-"
    scale, digits = (100, 1) if metric.unit == "percent" else (1, 3)
    low, high = (f"{scale * end:+.{digits}f}" for end in found.interval)
    return Linked(f"{scale * found.value:+.{digits}f}", "", f"{low} to {high}, p {found.p_value:.2g}")


def _slice_sections(card: Card, lists: Lists) -> Iterator[Section]:
    names = {kind: f"slice{index}" for index, kind in enumerate(KINDS)}
    titles = {
        "question type": "By type of question",
        "subject": "By person",
        "people": "One person or several",
        "clips": "Real and synthetic clips",
        "in the video": "By who is in the video",
    }
    for kind, title in titles.items():
        content = "".join(_slice_table(card, lists, kind, caption, metrics) for caption, metrics in _groups(card))
        if content:
            yield Section(names[kind], title, content)


def _slice_table(card: Card, lists: Lists, kind: str, caption: str, metrics: Sequence[Metric]) -> str:
    """A row per slice of a kind and model; without rows and columns in which nothing is defined."""

    def has_value(model: str, part: Slice, metric: Metric) -> bool:
        return card.scores[model][part].numbers[metric.key].value is not None

    rows = [(model.name, part) for model in card.models for part in card.scores[model.name] if part.kind == kind]
    used = [metric for metric in metrics if any(has_value(model, part, metric) for model, part in rows)]
    cells = [
        (part.name if len(card.models) == 1 else f"{part.name} · {model}", *_cells(card, lists, model, part, used))
        for model, part in rows
        if any(has_value(model, part, metric) for metric in used)
    ]
    return table(f"{caption} (shares in percent)", (kind, *_columns(used)), cells, style="dense") if cells else ""


def _columns(metrics: Sequence[Metric]) -> list[str]:
    return [f"{metric.title}{'' if metric.higher_is_better else ' ↓'}" for metric in metrics]


def _cells(card: Card, lists: Lists, system: str, part: Slice, metrics: Sequence[Metric]) -> Iterator[Linked | str]:
    for metric in metrics:
        number = card.scores[system][part].numbers[metric.key]
        if number.value is None:
            yield "-"
        else:
            yield Linked(shown(metric, number.value), lists.anchors[system, part, metric.key], _ends(metric, number))


def _ends(metric: Metric, number: Number) -> str:
    if number.interval is None or number.interval.low == number.interval.high:
        return ""
    return "–".join(shown(metric, end) for end in number.interval)


def _small_print(card: Card) -> str:
    whole = card.scores[card.models[0].name][WHOLE]
    drawn = "videos" if whole.num_subjects == 1 else "people, and then videos of each,"
    arrow = "Less is better where there is an arrow (↓). A figure leads to the answers behind it."
    return note(_SMALL.format(drawn=drawn), arrow, *card.instruments.skipped)


def _compared_section(card: Card) -> Section:
    first = card.models[0].name
    columns = ["score", *(f"{one.second}, {one.num_matched} questions" for one in card.compared)]
    rows = [(metric.title, *(_difference(metric, one) for one in card.compared)) for metric in card.instruments.metrics]
    tests = [one.existence for one in card.compared]
    exact = ["-" if test is None else f"{test.only_second} against {test.only_first}, p {test.p_value:.2g}" for test in tests]
    rows.append(("yes/no right alone (McNemar)", *exact))
    sentences = (
        "Differences on the same questions, in points or in the unit of the score, with 95% intervals of a paired bootstrap.",
        "p values are two-sided and not corrected for how many there are.",
        "The last row has the questions that only one of the two gets right, with the exact test, which takes questions as independent.",
    )
    return Section("compared", f"Beside {first}", table(f"How far each is above {first}", columns, rows) + note(*sentences))


def _leaks_section(card: Card) -> Section:
    check = card.leaks
    assert check is not None
    nearest = "" if check.nearest is None else f" The nearest pair differs in {100 * check.nearest:.0f}% of the bits."
    said = f"{check.num_test} test videos against {check.num_train} training videos, by a perceptual hash of eight frames.{nearest}"
    rows = [(Path(leak.test).name, leak.test, leak.train, f"{100 * leak.distance:.1f}") for leak in check.leaks]
    found = table("Nearly the same", ("video", "test", "training", "bits, %"), rows, style="wrap") if rows else ""
    return Section("near_duplicates", "Was a test video trained on?", found + note(said, *check.not_checked))


def _methods_section(card: Card) -> Section:
    methods = table("How scores were counted", ("score", "by"), list(card.instruments.methods.items()), style="wrap")
    columns = ("rating", "answers", "rank, all", "rank, same words", "rank, other words", "mean error", "unread")
    rows = [
        (
            title,
            str(found.num_answers),
            *("-" if value is None else f"{value:.2f}" for value in (found.rank, found.plain_rank, found.reworded_rank, found.mean_error)),
            str(found.num_unread),
        )
        for title, found in card.instruments.agreement.items()
    ]
    agreement = table("The judge on answers of known quality", columns, rows) if rows else ""
    below = note(
        "Rank is Spearman's correlation with the rating that an answer was made for; half of these answers use the words of the "
        "reference answer, half of them other words. Ratings of different judges are not comparable."
    )
    about = [(f"What {model.name} is", list(model.facts.items())) for model in card.models if model.facts]
    facts = "".join(table(caption, ("field", "value"), rows_of, style="wrap") for caption, rows_of in about)
    return Section("methods", "How it was measured", methods + agreement + (below if rows else "") + facts)
