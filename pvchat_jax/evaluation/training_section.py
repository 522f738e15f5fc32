"""The part of the page about how the model was trained: learning curves and routing, one column per training stage."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pvchat_jax.evaluation.curves import Curve, StageCurves, module_key
from pvchat_jax.evaluation.line_chart import NUM_COLOURS, Line, draw_lines
from pvchat_jax.evaluation.markup import Section, figure, note, text

_LOSS_NAMES = {
    "loss": "total",
    "lm_loss": "language",
    "spr_loss": "SPR",
    "hae_loss": "HAE",
    "balance_loss": "balance",
}
_LOSS_NOTE = (
    "The total is what is minimised: the language model's cross-entropy over answer tokens plus the regularisers of the routed heads. "
    "Token accuracy is the share of answer tokens that are the likeliest given the true tokens before them. "
    "All values are of training batches."
)
_ROUTING_NOTE = (
    "The active rate of a routed attention module is the share of its gates above zero; sparsity is one minus that. "
    "SPR raises a module's coefficient while its active rate is above the target and lowers it below. "
    "Modules are named layer.kind; lines of self-attention are solid, of cross-attention dashed."
)


def training_sections(stages: Sequence[StageCurves]) -> Iterator[Section]:
    """The learning curves and of the routing over time; nothing where no stage has curves."""
    losses = [
        _row(stages, "loss", lambda stage: _named(stage, "loss", "lm_loss"), unit="nats per token"),
        _row(stages, "regularisers", lambda stage: _named(stage, "spr_loss", "hae_loss", "balance_loss"), unit="nats"),
        _row(stages, "token accuracy", _token_accuracy, unit="%", top=100.0),
    ]
    if any(losses):
        yield Section("training", "How it was trained", _grid(len(stages), losses) + note(_LOSS_NOTE))
    routing = [
        _row(
            stages, "active rate of the routed heads", lambda stage: _modules(stage, "active_rate", 100.0), unit="%", top=100.0, target=True
        ),
        _row(
            stages,
            "SPR coefficient",
            lambda stage: _modules(stage, "spr_coefficient", 1.0),
            unit="coefficient, logarithmic",
            logarithmic=True,
        ),
    ]
    if any(routing):
        yield Section("routing", "Sparsity of the routed heads over time", _grid(len(stages), routing) + note(_ROUTING_NOTE))


def _grid(num_stages: int, rows: Sequence[str]) -> str:
    return f'<div class="charts" style="--columns: {num_stages}">{"".join(rows)}</div>'


def _row(
    stages: Sequence[StageCurves], title: str, lines_of: Callable[[StageCurves], Sequence[Line]], *, target: bool = False, **chart: Any
) -> str:
    """One chart per stage, or nothing if none has lines."""
    lines = [lines_of(stage) for stage in stages]
    if not any(lines):
        return ""
    figures = ""
    for stage, drawn in zip(stages, lines, strict=True):
        name = f"{stage.title}: {title}"
        goal = 100.0 * stage.target_active_rate if target else None
        drawing = draw_lines(name, drawn, target=goal, **chart) if drawn else f'<p class="note">{text("Nothing was logged.")}</p>'
        figures += figure(name, drawing)
    return figures


def _named(stage: StageCurves, *names: str) -> list[Line]:
    curves = {curve.name: curve for curve in stage.curves}
    found = [curves[name] for name in names if name in curves]
    return [Line(name=_LOSS_NAMES[curve.name], points=curve.points, colour=index, dashed=index > 0) for index, curve in enumerate(found)]


def _token_accuracy(stage: StageCurves) -> list[Line]:
    return [Line(name="accuracy", points=_scaled(curve, 100.0), colour=0) for curve in stage.curves if curve.name == "token_accuracy"]


def _modules(stage: StageCurves, metric: str, factor: float) -> list[Line]:
    """One line per routed module, coloured by layer; runs that logged no modules have the mean over modules."""
    prefix = module_key(metric, "")
    curves = [curve for curve in stage.curves if curve.name.startswith(prefix) and _scaled(curve, factor)]
    if not curves:
        return [
            Line(name="mean", points=_scaled(curve, factor)) for curve in stage.curves if curve.name == metric and _scaled(curve, factor)
        ]
    modules = [curve.name.removeprefix(prefix) for curve in curves]
    layers = list(dict.fromkeys(module.partition(".")[0] for module in modules))
    return [
        Line(
            name=module,
            points=_scaled(curve, factor),
            colour=layers.index(module.partition(".")[0]) % NUM_COLOURS,
            dashed=module.endswith(".cross"),
        )
        for module, curve in zip(modules, curves, strict=True)
    ]


def _scaled(curve: Curve, factor: float) -> list[tuple[float, float]]:
    return [(step, factor * value) for step, value in curve.points]
