"""One item of a sweep: one system with one checkpoint, one file of questions, one way to decode and one seed."""

import dataclasses
import hashlib
import re
from collections.abc import Hashable
from typing import Any, NamedTuple

from pvchat_jax.config.evaluation_schema import BASE, CONSTANTS, WRONG_PERSON


class ModelKey(NamedTuple):
    """Which parameters answer: those of a run at a step (of a pack, its own), or of the base below a run where `step` is None; and for
    whose name the token of the name stands."""

    run: str
    step: int | None
    subject: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """What decides over an item's answers, and why it cannot be had where that is known before it is tried.

    Attributes:
      run, step: of the personalised model; `step` is None for a system that does not depend on it.
      records: file of questions. limit: videos of it, 0 for all.
      other_run, other_step: whose learnt parts answer instead, for `wrong_person`.
      other_name: asked about instead, for `name_swapped`.
      weights: fingerprint of what answers; empty for constants.
      threshold: log-odds that an answer needs to begin with "Yes", in nats; None without one.
      records_sha256: of the file. asked: digest of the questions and the sizes of the videos.
      encoder: items with an equal one share the features of videos.
      reason: why it cannot be asked.
    """

    system: str
    run: str
    records: str
    decoding: str
    seed: int
    limit: int
    subject: str = ""
    step: int | None = None
    other_run: str | None = None
    other_step: int | None = None
    other_name: str | None = None
    weights: str = ""
    threshold: float | None = None
    records_sha256: str = ""
    asked: str = ""
    encoder: Hashable = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """The name of its folder, which no other item has: it changes with the checkpoint, the questions and the videos."""
        parts = (self.subject, self.system, "" if self.step is None else f"step{self.step}", self.decoding, f"seed{self.seed}")
        readable = "-".join(cleaned for part in parts if (cleaned := re.sub(r"[^A-Za-z0-9.=_]+", "", part)))
        identity = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in ("encoder", "reason")}
        return f"{readable}-{hashlib.sha256(repr(identity).encode()).hexdigest()[:12]}"

    @property
    def model(self) -> ModelKey | None:
        """What has to be loaded; None where nothing has."""
        if self.system in CONSTANTS:
            return None
        if self.system == WRONG_PERSON:
            return ModelKey(self.other_run or "", self.other_step, self.subject)
        return ModelKey(self.run, None if self.system == BASE else self.step, self.subject)

    def entry(self, state: str, reason: str | None = None) -> dict[str, Any]:
        """What sweep.json says about it."""
        names = ("run", "system", "step", "records", "decoding", "seed", "subject")
        return {"item": self.name, "state": state, "reason": reason} | {name: getattr(self, name) for name in names}
