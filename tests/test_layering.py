"""The rules of the house, checked on the syntax tree: who may import whom, how long things are, what never appears.

`ALLOWED_IMPORTS` is the one table of import directions; CONTRIBUTING.md shows the same table and a test compares the two.
Every rule is a function of parsed sources, so that the second half of the file can prove on snippets that it is able to fail.
"""

import ast
import dataclasses
import functools
import graphlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_ENTRY_POINT_LINES = 150

# A room is a folder or a single module, and the longest room that contains a module is the module's room. Entry points are
# recognised by their `if __name__ == "__main__":` and may import everything but each other (see `check_entry_points`).
EVERYWHERE = ("pvchat_jax.errors", "pvchat_jax.files", "pvchat_jax.config", "pvchat_jax.models.config")
TRAINING = (*EVERYWHERE, "pvchat_jax.sharding", "pvchat_jax.objectives", "pvchat_jax.models", "pvchat_jax.data")
PRETRAINING = (*TRAINING, "pvchat_jax.world", "pvchat_jax.training")
PERSONALISATION = (*PRETRAINING, "pvchat_jax.pretraining", "pvchat_jax.evaluation", "pvchat_jax.synthesis")
ALLOWED_IMPORTS: dict[str, tuple[str, ...]] = {
    "pvchat_jax.errors": (),
    "pvchat_jax.models.config": (),
    "pvchat_jax.config": ("pvchat_jax.errors", "pvchat_jax.files", "pvchat_jax.models.config"),
    "pvchat_jax.devices": (),
    "pvchat_jax.distributed": ("pvchat_jax.errors",),
    "pvchat_jax.files": (),
    "pvchat_jax.chat_models": ("pvchat_jax.errors",),
    "pvchat_jax.resampling": (),
    "pvchat_jax.sharding": EVERYWHERE,
    "pvchat_jax.objectives": EVERYWHERE,
    "pvchat_jax.models": (*EVERYWHERE, "pvchat_jax.sharding", "pvchat_jax.resampling"),
    "pvchat_jax.data": (*EVERYWHERE, "pvchat_jax.resampling"),
    "pvchat_jax.world": (*EVERYWHERE, "pvchat_jax.devices", "pvchat_jax.data.record_files", "pvchat_jax.data.records"),
    "pvchat_jax.training": (*TRAINING, "pvchat_jax.distributed", "pvchat_jax.tracking"),
    "pvchat_jax.inference": (*EVERYWHERE, "pvchat_jax.sharding", "pvchat_jax.models", "pvchat_jax.data"),
    "pvchat_jax.evaluation": (*EVERYWHERE, "pvchat_jax.data", "pvchat_jax.inference", "pvchat_jax.chat_models", "pvchat_jax.world.slots"),
    "pvchat_jax.tracking": EVERYWHERE,
    "pvchat_jax.sweeps": (
        *TRAINING,
        "pvchat_jax.training",
        "pvchat_jax.inference",
        "pvchat_jax.evaluation",
        "pvchat_jax.distributed",
        "pvchat_jax.tracking",
    ),
    "pvchat_jax.pretraining": PRETRAINING,
    "pvchat_jax.personalisation": PERSONALISATION,
    "pvchat_jax.benchmarking": (*PERSONALISATION, "pvchat_jax.personalisation", "pvchat_jax.sweeps"),
    "pvchat_jax.planning": (*TRAINING, "pvchat_jax.training"),
    "pvchat_jax.synthesis": (
        *EVERYWHERE,
        "pvchat_jax.data",
        "pvchat_jax.world",
        "pvchat_jax.chat_models",
        "pvchat_jax.evaluation.html_report",
        "pvchat_jax.evaluation.markup",
        "pvchat_jax.synthesis.faces.tiny_base",
        "pvchat_jax.synthesis.segmenting.tiny_base",
    ),
    "pvchat_jax.synthesis.faces.tiny_base": (*PRETRAINING, "pvchat_jax.pretraining", "pvchat_jax.synthesis"),
    "pvchat_jax.synthesis.segmenting.tiny_base": (*PRETRAINING, "pvchat_jax.pretraining", "pvchat_jax.synthesis"),
    "pvchat_jax.registry": (
        *EVERYWHERE,
        "pvchat_jax.data",
        "pvchat_jax.sharding",
        "pvchat_jax.training",
        "pvchat_jax.evaluation",
        "pvchat_jax.synthesis",
    ),
    "pvchat_jax.assistant": (
        *EVERYWHERE,
        "pvchat_jax.sharding",
        "pvchat_jax.models",
        "pvchat_jax.data",
        "pvchat_jax.training",
        "pvchat_jax.inference",
        "pvchat_jax.evaluation",
        "pvchat_jax.synthesis",
        "pvchat_jax.registry",
    ),
    "pvchat_jax.server": (
        *EVERYWHERE,
        "pvchat_jax.data",
        "pvchat_jax.sharding",
        "pvchat_jax.inference",
        "pvchat_jax.registry",
        "pvchat_jax.assistant",
        "pvchat_jax.timeline",
        "pvchat_jax.synthesis",
    ),
    "pvchat_jax.timeline": (
        *EVERYWHERE,
        "pvchat_jax.data",
        "pvchat_jax.evaluation.html_report",
        "pvchat_jax.evaluation.markup",
        "pvchat_jax.registry",
        "pvchat_jax.assistant",
    ),
    "pvchat_jax.terminal": (
        *EVERYWHERE,
        "pvchat_jax.data",
        "pvchat_jax.inference",
        "pvchat_jax.evaluation",
        "pvchat_jax.registry",
        "pvchat_jax.assistant",
        "pvchat_jax.timeline",
    ),
    "pvchat_jax.command": (*EVERYWHERE, "pvchat_jax.devices", "pvchat_jax.distributed", "pvchat_jax.training"),
    "configs": EVERYWHERE,
    "converters": (*EVERYWHERE, "pvchat_jax.models"),
    "converters.verification": (*TRAINING, "pvchat_jax.training", "configs", "converters"),
}
WHOLE_PATHS = ("pvchat_jax.quickstart", "pvchat_jax.personalize")
WHOLE_PATHS_START = ("pvchat_jax.train", "pvchat_jax.evaluate")

# Read by tools that must start without jax, such as the converters and the data checks.
STANDARD_LIBRARY_ONLY = ("pvchat_jax.errors", "pvchat_jax.models.config", "pvchat_jax.config.schema")
GRAIN_FILES = ("pvchat_jax.data.pipeline", "pvchat_jax.pretraining.batches", "pvchat_jax.training.checkpoint")
TORCH_ROOM = "pvchat_jax.synthesis.generators"  # for the extra synthesis: diffusers runs on it
LINEN_ROOMS = ("pvchat_jax.models", "pvchat_jax.sharding")
PICKLES = ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
SHELL_CALLS = ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")
FORBIDDEN_TRUE = {
    "shell": "pass the command as a list of arguments",
    "trust_remote_code": "load only code that is installed",
    "allow_pickle": "store plain arrays, or JSON",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """One parsed file: its dotted module name, path from the repository root, text and syntax tree."""

    path: str
    text: str

    @property
    def module(self) -> str:
        return ".".join(Path(self.path).with_suffix("").parts).removesuffix(".__init__")

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_entry_point(self) -> bool:
        return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in self.tree.body)

    def imports(self) -> Iterator[tuple[int, str]]:
        """(line, dotted name) of each import, also inside functions; `from a import b` gives `a.b`."""
        package = self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
                start = ".".join(part for part in (base, node.module) if part)
                yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def is_inside(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(module: str) -> str | None:
    """The longest room of `ALLOWED_IMPORTS` that holds `module`."""
    return max((room for room in ALLOWED_IMPORTS if is_inside(module, room)), key=len, default=None)


def check_import_directions(source: Source) -> Iterator[str]:
    if source.is_entry_point or source.path.startswith("tests/") or source.path == "pvchat_jax/__init__.py":
        return
    room = room_of(source.module)
    if room is None:
        yield f"{source.path}: belongs to no room; add its folder to ALLOWED_IMPORTS and to CONTRIBUTING.md, or move the file into a room"
        return
    for line, name in source.imports():
        if name.split(".")[0] not in ("pvchat_jax", "configs", "converters", "tests"):
            continue
        inside = room_of(name) == room or any(is_inside(name, allowed) for allowed in ALLOWED_IMPORTS[room])
        if not inside:
            yield (
                f"{source.path}:{line}: {room} may not import {name}; pass what it needs as an argument, "
                f"or move the shared part into one of {ALLOWED_IMPORTS[room]}"
            )


def check_entry_points(source: Source, entry_points: frozenset[str]) -> Iterator[str]:
    if source.module in entry_points and source.path.startswith("pvchat_jax/"):
        num_lines = len(source.text.splitlines())
        if num_lines >= MAX_ENTRY_POINT_LINES:
            yield f"{source.path}: an entry point of {num_lines} lines; move work into a room, fewer than {MAX_ENTRY_POINT_LINES} may stay"
    if source.path.startswith("tests/"):
        return
    for line, name in source.imports():
        entered = next((entry for entry in entry_points if is_inside(name, entry)), None)
        if entered and not (source.module in WHOLE_PATHS and entered in WHOLE_PATHS_START):
            yield f"{source.path}:{line}: imports the entry point {entered}; move the shared part of {entered} into a room and import that"


def check_sizes(source: Source) -> Iterator[str]:
    num_lines = len(source.text.splitlines())
    if num_lines > MAX_FILE_LINES:
        yield f"{source.path}: {num_lines} lines; split it by reason to change, at most {MAX_FILE_LINES} lines each"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{source.path}:{node.lineno}: {node.name} has {length} lines; split it, at most {MAX_FUNCTION_LINES}"


def check_libraries(source: Source) -> Iterator[str]:
    for line, name in source.imports():
        where = f"{source.path}:{line}:"
        top = name.split(".")[0]
        if is_inside(name, "flax.nnx"):
            yield f"{where} imports flax.nnx, which fails on jax 0.11; write the module with flax.linen"
        if top == "pvchat_jax" or source.path.startswith("tests/"):
            continue
        if is_inside(name, "flax.linen") and not any(is_inside(source.module, room) for room in LINEN_ROOMS):
            yield f"{where} imports flax.linen outside {LINEN_ROOMS}; take plain parameter trees and an apply function instead"
        if top == "grain" and source.module not in GRAIN_FILES:
            yield f"{where} imports grain; only {GRAIN_FILES} do, add a function there and call it"
        if top == "torch" and source.path.startswith("pvchat_jax/") and not is_inside(source.module, TORCH_ROOM):
            yield f"{where} imports torch, which is no run-time dependency; move the code to converters/ or tests/"
        if source.module in STANDARD_LIBRARY_ONLY and top not in sys.stdlib_module_names:
            yield f"{where} imports {name}; {source.module} must load with the standard library alone, so move that code"


def check_safety(source: Source) -> Iterator[str]:
    for line, name in source.imports():
        if name.split(".")[0] in PICKLES:
            yield f"{source.path}:{line}: imports {name}, and unpickling runs any code a file carries; use JSON, .npz or safetensors"
        if name in SHELL_CALLS:
            yield f"{source.path}:{line}: imports {name}; call subprocess.run with a list of arguments"
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}
        for keyword, remedy in FORBIDDEN_TRUE.items():
            if given.get(keyword, "False") != "False":
                yield f"{source.path}:{node.lineno}: {called}({keyword}={given[keyword]}); {remedy}"
        if called in SHELL_CALLS or called in ("eval", "exec"):
            yield f"{source.path}:{node.lineno}: calls {called}; call subprocess.run with a list, or parse the text"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"{source.path}:{node.lineno}: torch.load unpickles; pass weights_only=True"


def check_names(source: Source) -> Iterator[str]:
    if {"utils", "util"} & set(source.module.split(".")):
        yield f"{source.path}: is a drawer named utils; name the file after the one thing it does"


CHECKS: tuple[Callable[[Source], Iterator[str]], ...] = (check_import_directions, check_sizes, check_libraries, check_safety, check_names)


@functools.cache
def sources() -> tuple[Source, ...]:
    paths = [path for folder in ("pvchat_jax", "configs", "converters", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def entry_points_of(files: tuple[Source, ...]) -> frozenset[str]:
    return frozenset(source.module for source in files if source.is_entry_point)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_file_keeps_the_rule(check: Callable[[Source], Iterator[str]]) -> None:
    problems = [problem for source in sources() for problem in check(source)]
    assert not problems, "\n".join(problems)


def test_entry_points_stay_thin_and_unimported() -> None:
    entry_points = entry_points_of(sources())
    problems = [problem for source in sources() for problem in check_entry_points(source, entry_points)]
    assert not problems, "\n".join(problems)


def circle_of(files: Iterable[Source]) -> list[str]:
    """Modules of `files` of which each imports the next and the last the first; empty if there are none."""
    by_name = {source.module: source for source in files}
    graph: dict[str, set[str]] = {}
    for name, source in by_name.items():
        targets = {target for _, target in source.imports()}
        graph[name] = {found for target in targets for found in (target, target.rpartition(".")[0]) if found in by_name} - {name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle_of(sources()) == []
    assert circle_of([Source("a.py", "def f():\n    from b import g"), Source("b.py", "import a")])


def test_contributing_shows_the_table() -> None:
    def short(names: tuple[str, ...]) -> str:
        return ", ".join(f"`{name.removeprefix('pvchat_jax.')}`" for name in names) or "nothing"

    rows = [f"| `{room.removeprefix('pvchat_jax.')}` | {short(allowed)} |" for room, allowed in ALLOWED_IMPORTS.items()]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in text, "the table of import directions in CONTRIBUTING.md must read:\n" + "\n".join(rows)


def test_rooms_of_the_table_exist() -> None:
    modules = {source.module for source in sources()}
    missing = [room for room in ALLOWED_IMPORTS if room not in modules]
    assert not missing, f"ALLOWED_IMPORTS names {missing}, which no longer exist; remove those rows here and in CONTRIBUTING.md"


LONG_FILE = "x = 1\n" * (MAX_FILE_LINES + 1)
LONG_FUNCTION = "def run():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
BREAKS = [
    (check_import_directions, "pvchat_jax/data/video.py", "from pvchat_jax.models.vision import Vision"),
    (check_import_directions, "pvchat_jax/data/video.py", "from pvchat_jax import training"),
    (check_import_directions, "pvchat_jax/data/video.py", "from ..training import step"),
    (check_import_directions, "pvchat_jax/models/lora.py", "def late():\n    import pvchat_jax.training.step"),
    (check_import_directions, "pvchat_jax/world/build.py", "from pvchat_jax.data import pipeline"),
    (check_import_directions, "pvchat_jax/evaluation/report.py", "import tests.data.video"),
    (check_import_directions, "pvchat_jax/world/plan.py", "from pvchat_jax.pretraining.truth import Labels"),
    (check_import_directions, "pvchat_jax/pretraining/run.py", "from pvchat_jax.personalisation.looks import read_looks"),
    (check_import_directions, "pvchat_jax/new_room/thing.py", "x = 1"),
    (check_sizes, "pvchat_jax/data/video.py", LONG_FILE),
    (check_sizes, "tests/test_video.py", LONG_FUNCTION),
    (check_libraries, "tests/test_video.py", "from flax import nnx"),
    (check_libraries, "pvchat_jax/models/vision.py", "import flax.nnx.module"),
    (check_libraries, "pvchat_jax/training/step.py", "from flax import linen as nn"),
    (check_libraries, "pvchat_jax/data/records.py", "import grain.python"),
    (check_libraries, "pvchat_jax/pretraining/run.py", "import grain"),
    (check_libraries, "pvchat_jax/data/records.py", "def late():\n    import torch"),
    (check_libraries, "pvchat_jax/config/schema.py", "import numpy as np"),
    # Texts that the check must refuse; none of them runs.
    (check_safety, "converters/from_torch.py", "from pickle import loads"),
    (check_safety, "converters/from_torch.py", "torch.load(path)"),
    (check_safety, "tests/test_video.py", "subprocess.run(command, shell=True)"),
    (check_safety, "pvchat_jax/data/video.py", "os.system(command)"),
    (check_safety, "pvchat_jax/data/tokenizer.py", "AutoTokenizer.from_pretrained(path, trust_remote_code=flag)"),
    (check_safety, "pvchat_jax/data/video.py", "np.load(path, allow_pickle=True)"),
    (check_names, "pvchat_jax/data/utils.py", ""),
    (check_names, "tests/utils/video.py", ""),
]
KEEPS = [
    (
        check_import_directions,
        "pvchat_jax/data/video.py",
        "from pvchat_jax.models.config import VisionConfig\nfrom pvchat_jax import errors",
    ),
    (check_import_directions, "pvchat_jax/data/video.py", "from .records import Record\nimport numpy as np"),
    (check_import_directions, "pvchat_jax/world/build.py", "from pvchat_jax.data.records import Record"),
    (check_import_directions, "pvchat_jax/pretraining/run.py", "from pvchat_jax.world.plan import plan_base_video"),
    (check_import_directions, "pvchat_jax/personalisation/looks.py", "from pvchat_jax.pretraining.readers import read_person"),
    (check_import_directions, "pvchat_jax/train.py", "from pvchat_jax.training import loop\nif __name__ == '__main__':\n    loop.run()"),
    (check_sizes, "pvchat_jax/data/video.py", "def run():\n" + "    x = 1\n" * (MAX_FUNCTION_LINES - 1)),
    (check_libraries, "pvchat_jax/models/vision.py", "import flax.linen as nn"),
    (check_libraries, "pvchat_jax/data/pipeline.py", "import grain"),
    (check_libraries, "pvchat_jax/pretraining/batches.py", "import grain"),
    (check_libraries, "converters/from_torch.py", "import torch"),
    (check_safety, "converters/from_torch.py", "torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)"),
]


@pytest.mark.parametrize(("check", "path", "text"), BREAKS)
def test_check_finds_the_breach(check: Callable[[Source], Iterator[str]], path: str, text: str) -> None:
    assert list(check(Source(path, text)))


@pytest.mark.parametrize(("check", "path", "text"), KEEPS)
def test_check_accepts_what_is_allowed(check: Callable[[Source], Iterator[str]], path: str, text: str) -> None:
    assert not list(check(Source(path, text)))


def test_entry_point_check_finds_importers_and_fat() -> None:
    main = "if __name__ == '__main__':\n    run()\n"
    thin = Source("pvchat_jax/train.py", main)
    fat = Source("pvchat_jax/evaluate.py", "x = 1\n" * MAX_ENTRY_POINT_LINES + main)
    importer = Source("pvchat_jax/training/loop.py", "from pvchat_jax.train import main")
    quickstart = Source("pvchat_jax/quickstart.py", "from pvchat_jax import train, evaluate, validate\n" + main)
    validate = Source("pvchat_jax/validate.py", main)
    files = (thin, fat, importer, quickstart, validate)
    found = [problem for source in files for problem in check_entry_points(source, entry_points_of(files))]
    assert [problem.split(":")[0] for problem in found] == [
        "pvchat_jax/evaluate.py",
        "pvchat_jax/training/loop.py",
        "pvchat_jax/quickstart.py",
    ]
