"""The part of the page about routed heads in videos with and without the subject: small heat maps, as tables."""

from collections.abc import Callable, Mapping, Sequence

from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.markup import Section, note, text

_FULL_SHADE = 0.25  # difference that is drawn as strongly as can be; smaller ones stay pale, however small all of them are
_DARK = 0.65  # shade from which a cell's text is light


def heads_section(activity: HeadActivity, subject: str) -> Section | None:
    """Three heat maps, or None for a model without routed heads or an evaluation without videos."""
    parts = []
    if activity.present:
        parts.append(_heat_map(f"With {subject} ({activity.num_present} videos), %", activity.present, activity.num_shared_heads, _share))
    if activity.absent:
        parts.append(_heat_map(f"Without ({activity.num_absent} videos), %", activity.absent, activity.num_shared_heads, _share))
    if not parts:
        return None
    differences = _differences(activity)
    sentences = [
        "A cell is the share of (clip, token) pairs for which the router has that head on (gate above zero), averaged over videos.",
        f"Heads 0 to {activity.num_shared_heads - 1} are shared and always on, so they are not shown." if activity.num_shared_heads else "",
    ]
    if differences:
        scale = max(_FULL_SHADE, *(abs(value) for row in differences.values() for value in row))
        parts.append(_heat_map("Difference, points", differences, activity.num_shared_heads, lambda value: _signed(value, scale)))
        sentences.append(f"Differences above zero: more often on with {subject} than without.")
        sentences.append(_largest(differences, activity, subject))
    heading = f"Which heads are on when {subject} is there"
    return Section("heads", heading, f'<div class="heats">{"".join(parts)}</div>' + note(*filter(None, sentences)))


def _differences(activity: HeadActivity) -> dict[str, tuple[float, ...]]:
    """Shares with the subject minus shares without, by module; empty unless there are both."""
    return {
        module: tuple(shown - hidden for shown, hidden in zip(shares, activity.absent[module], strict=True))
        for module, shares in activity.present.items()
        if module in activity.absent
    }


def _largest(differences: Mapping[str, Sequence[float]], activity: HeadActivity, subject: str) -> str:
    module, index = max(
        ((module, index) for module, row in differences.items() for index in range(len(row))),
        key=lambda place: abs(differences[place[0]][place[1]]),
    )
    shown, hidden = activity.present[module][index], activity.absent[module][index]
    return (
        f"The largest difference is at head {activity.num_shared_heads + index} of {module}: "
        f"on for {100 * shown:.1f}% with {subject} and for {100 * hidden:.1f}% without."
    )


def _heat_map(caption: str, rows: Mapping[str, Sequence[float]], first_head: int, show: Callable[[float], tuple[str, str, float]]) -> str:
    num_heads = max(map(len, rows.values()))
    head = "".join(f'<th scope="col">{first_head + index}</th>' for index in range(num_heads))
    body = ""
    for module, values in rows.items():
        cells = ""
        for kind, shown, shade in map(show, values):
            style = f"{kind} deep" if shade > _DARK else kind
            cells += f'<td class="{style}" style="--shade: {shade:.2f}">{shown}</td>'
        body += f'<tr><th scope="row">{text(module)}</th>{cells}</tr>'
    content = f'<caption>{text(caption)}</caption><thead><tr><th scope="col">head</th>{head}</tr></thead><tbody>{body}</tbody>'
    return f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0"><table class="heat">{content}</table></div>'


def _share(value: float) -> tuple[str, str, float]:
    return "more", f"{100 * value:.0f}", value


def _signed(value: float, scale: float) -> tuple[str, str, float]:
    return "more" if value >= 0 else "less", f"{100 * value:+.1f}", abs(value) / scale
