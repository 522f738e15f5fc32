"""Results of the stages, kept by content: a result is found again by everything that it depends on.

The key of a piece of work is the digest of its stage's name and version, the digests of its inputs, its settings and its seed. Changing
one of these makes another key, so nothing has to be thrown away by hand, and a run that was killed finds all that it had finished.
Work is either a whole stage or one item of a stage that makes many, such as a clip.
"""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.records import sha256_of
from pvchat_jax.synthesis.shards import WHOLE, Shard

STAGES_FOLDER = "stages"


def digest_of(value: Any) -> str:
    """Digest of JSON values, whatever the order of their fields."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seed_of(*parts: object) -> int:
    """A seed below 2**31 that depends on all `parts`, and on nothing else such as the order in which work is done."""
    return int(digest_of([str(part) for part in parts])[:8], 16) & 0x7FFFFFFF


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work.

    Attributes:
      stage: name of the stage. version: of its code; raise it when the same inputs shall give another result.
      tool: name and version of the backend that does it.
      inputs: digests by name. settings: JSON values.
    """

    stage: str
    version: int
    tool: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    seed: int = 0

    @property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return digest_of(dataclasses.asdict(self))


@dataclasses.dataclass
class Tally:
    """What a run did of one stage: pieces that were `made`, and those `found` from before; `seconds` went into the former."""

    made: int = 0
    found: int = 0
    seconds: float = 0.0


class StageStore:
    """Results under `folder`/stages, with files that lie anywhere in `folder`; of several workers this one is `shard`."""

    def __init__(self, folder: Path, shard: Shard = WHOLE) -> None:
        self.folder = folder
        self.shard = shard
        self.tallies: dict[str, Tally] = {}
        self._used: dict[str, dict[str, Work]] = {}

    def find(self, work: Work) -> Any | None:
        """The JSON value kept for `work`; None where there is none, or where one of its files is gone or changed."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # whatever is damaged is made again
            entry = json.loads(self._path(work).read_text(encoding="utf-8"))
            intact = all(sha256_of(self.folder / name) == digest for name, digest in entry["files"].items())
            if intact and entry["digest"] == digest_of(entry["value"]):
                self._note(work).found += 1
                return entry["value"]
        return None

    def keep(self, work: Work, value: Any, files: Mapping[str, str] | None = None, *, seconds: float = 0.0) -> None:
        """Keeps the JSON `value` of `work`, which took `seconds`; `files` are digests by path in the folder, and are written already."""
        tally = self._note(work)
        tally.made += 1
        tally.seconds += seconds
        entry = {"work": dataclasses.asdict(work), "value": value, "digest": digest_of(value), "files": dict(files or {})}
        write_atomically(self._path(work), json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")

    def once(self, work: Work, make: Callable[[], Any]) -> Any:
        """The value of work that all workers need: found, or made here, where only its owner keeps it so that no two write one file."""
        found = self.find(work)
        if found is not None:
            return found
        start = time.monotonic()
        value = make()
        if self.shard.owns(work.key):
            self.keep(work, value, seconds=time.monotonic() - start)
        else:
            self._note(work)
        return value

    def manifest(self) -> list[dict[str, Any]]:
        """What this run used, one object for each stage and tool: how many pieces, and a digest over all their keys."""
        return [summary for stage, works in self._used.items() for summary in _summaries(stage, works)]

    def _note(self, work: Work) -> Tally:
        self._used.setdefault(work.stage, {})[work.key] = work
        return self.tallies.setdefault(work.stage, Tally())

    def _path(self, work: Work) -> Path:
        return self.folder / STAGES_FOLDER / work.stage / work.key[:2] / f"{work.key}.json"


def _summaries(stage: str, works: Mapping[str, Work]) -> Iterator[dict[str, Any]]:
    for tool in sorted({work.tool for work in works.values()}):
        keys = sorted(key for key, work in works.items() if work.tool == tool)
        one = works[keys[0]]
        yield {"stage": stage, "version": one.version, "tool": tool, "pieces": len(keys), "keys": digest_of(keys)}
