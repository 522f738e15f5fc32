"""The clips of a joint set: those of its parts, and others in which their people are put together."""

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.joining.arranging import ARRANGE, IN_TURN, arrange, arrangement_for
from pvchat_jax.synthesis.joining.panels import Panel, Pools, choose_panels, combination
from pvchat_jax.synthesis.joining.parts import Part
from pvchat_jax.synthesis.joining.presence import Sights, recognise
from pvchat_jax.synthesis.privacy.personal_data import bare
from pvchat_jax.synthesis.records import Clip, SetAside
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watch.filming import CLIPS_FOLDER

COPY = "copy"

Advance = Callable[[], None]


class JointClip(NamedTuple):
    """A clip of the joint set.

    Attributes:
      roles: by name, one of `records.ROLES` for each person.
      sights: who is seen in it, and where.
      owners: of the parts that it comes from, nobody for one that was put together. panels: of the latter, in order.
      arrangement: of the panels; empty if there are none.
    """

    split: str
    clip: Clip
    roles: Mapping[str, str]
    sights: Sights
    owners: frozenset[str]
    panels: tuple[Panel, ...] = ()
    arrangement: str = ""

    @property
    def present(self) -> frozenset[str]:
        """Who is there."""
        return frozenset(name for name, role in self.roles.items() if role == "positive")

    @property
    def is_in_turn(self) -> bool:
        """Whether it shows people one after the other, so that no single frame shows everybody."""
        return self.arrangement == IN_TURN


def take_over(
    parts: Sequence[Part], store: StageStore, reader: FaceReader, advance: Advance, report: Callable[[SetAside], None]
) -> Iterator[JointClip]:
    """The clips of the parts, each content once. `report` is told of those in which it is doubtful who is there, and of those of a test
    whose video another part trains on."""
    people = {part.name: part.embedding for part in parts}
    trained_on = {clip.source for part in parts for split, clip in part.clips if split != "test"}
    for copies in _by_content(parts):
        for _ in copies:
            advance()
        part, split, clip = next((copy for copy in copies if copy[1] != "test"), copies[0])
        name = f"{bare(part.name)}-{clip.name}"
        sights = recognise(store, part.folder, clip, people, reader)
        roles = _roles(sights, reader.alike) | {part.name: clip.role for part, _, clip in copies}
        doubtful = [other for other, role in roles.items() if not role]
        if split == "test" and clip.source in trained_on:
            report(SetAside(item=name, stage=COPY, reason="its video is trained on in another of the sets"))
        elif doubtful:
            report(SetAside(item=name, stage=COPY, reason=f"somebody in it may be {' or '.join(doubtful)}"))
        else:
            target = dataclasses.replace(clip, name=name, video=f"{CLIPS_FOLDER}/{name}.mp4")
            _copy(store, part.folder / clip.video, target)
            yield JointClip(split, target, roles, sights, frozenset(part.name for part, _, _ in copies))


def _by_content(parts: Sequence[Part]) -> list[list[tuple[Part, str, Clip]]]:
    """The clips of the parts with their splits, those of one content together: sets with one corpus have clips in common."""
    found: dict[str, list[tuple[Part, str, Clip]]] = {}
    for part in parts:
        for split, clip in part.clips:
            found.setdefault(clip.sha256, []).append((part, split, clip))
    return list(found.values())


def put_together(
    parts: Sequence[Part],
    taken: Sequence[JointClip],
    store: StageStore,
    reader: FaceReader,
    config: SynthesisConfig,
    advance: Advance,
    report: Callable[[SetAside], None],
) -> Iterator[JointClip]:
    """Clips in which every combination of presence occurs equally often, as far as everybody in them is recognised; `report` is told
    of the others. There are none for the test, in which nothing is made."""
    people = {part.name: part.embedding for part in parts}
    arrangement = arrangement_for([one.sights.width for one in taken], len(parts))
    for split, count in made_counts(config).items():
        pools = _pools(people, [one for one in taken if one.split == split], store.folder)
        if lacking := [name for name, pool in pools.items() if not (pool[True] and pool[False])]:
            reason = f"there are no clips with and without {' and '.join(lacking)} to put together with others"
            report(SetAside(item=f"the split {split}", stage=ARRANGE, reason=reason))
            continue
        for number in range(count):
            advance()
            present = combination(number, list(people))
            for attempt in range(config.max_attempts):
                panels = choose_panels(pools, present, config.seed, split, number, attempt)
                clip = arrange(store, split, panels, arrangement, config)
                sights = recognise(store, store.folder, clip, people, reader, len(panels) if arrangement == IN_TURN else 1)
                one = JointClip(split, clip, _roles(sights, reader.alike), sights, frozenset(), tuple(panels), arrangement)
                if one.present == present and all(one.roles.values()):
                    yield one
                    break
                reason = f"it was to show {_list(present)}, and the face reader sees {_list(one.present)}"
                report(SetAside(item=clip.name, stage=ARRANGE, reason=reason))


def made_counts(config: SynthesisConfig) -> dict[str, int]:
    """Clips that are put together, by split."""
    return {"train": config.num_clips, "calibration": config.num_calibration}


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"


def _pools(names: Iterable[str], clips: Sequence[JointClip], folder: Path) -> Pools:
    """What may fill a panel: clips that show the person alone, and clips of somebody else from the same part."""
    pools: dict[str, dict[bool, list[Panel]]] = {name: {True: [], False: []} for name in names}
    for one in clips:
        for owner in sorted(one.owners):
            if one.present <= {owner}:
                shown = bool(one.present)
                x = one.sights.by_name[owner].x if shown else one.sights.x
                pools[owner][shown].append(Panel(owner, shown, folder, one.clip, x))
    return pools


def _copy(store: StageStore, path: Path, clip: Clip) -> None:
    work = Work(stage=COPY, version=1, tool=clip.tool, inputs={"clip": clip.sha256}, settings={"video": clip.video})
    if store.find(work) is None:
        target = store.folder / clip.video
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)  # `find` sees whether it is whole
        store.keep(work, clip.name, {clip.video: clip.sha256})


def _roles(sights: Sights, alike: float) -> dict[str, str]:
    """By name; empty where it is doubtful whether the person is there."""
    absent = {True: "hard_negative", False: "easy_negative"}
    return {
        name: "" if sight.present is None else "positive" if sight.present else absent[sight.similarity >= alike]
        for name, sight in sights.by_name.items()
    }
