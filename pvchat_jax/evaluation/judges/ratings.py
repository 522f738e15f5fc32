"""Ratings of many answers, each asked for once and kept, so that an interrupted scoring goes on where it was."""

import concurrent.futures
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.judges.rubric import Judge, Rubric, prompt
from pvchat_jax.evaluation.metrics.metric import SumMetric, share

RATINGS_FILE = "ratings.jsonl"


class Ratings:
    """What one judge said of answers, and what was kept of it."""

    def __init__(self, judge: Judge, path: Path | None = None) -> None:
        """Reads what is kept.

        Args:
          path: a file with one rating per line, of any judge; made with the first rating. None keeps nothing, as for rules.
        """
        self.judge = judge
        self._path = path
        self._known: dict[str, int | None] = {}
        self._keys: dict[tuple[str, Answer], str] = {}
        if path is not None and path.is_file():
            self._read(path.read_text(encoding="utf-8"))

    def rate(self, rubric: Rubric, answers: Iterable[Answer]) -> None:
        """Asks for every rating that is not known yet.

        Raises:
          ModelUnavailable: the judge cannot be asked; what it said so far is kept.
        """
        wanted = {self._key(rubric, answer): answer for answer in answers if rubric.applies(answer)}
        missing = [(key, answer) for key, answer in wanted.items() if key not in self._known]
        with concurrent.futures.ThreadPoolExecutor(self.judge.parallel) as executor:
            futures = {executor.submit(self.judge.rate, rubric, answer): key for key, answer in missing}
            try:
                for future in concurrent.futures.as_completed(futures):
                    self._keep(rubric, futures[future], future.result())
            finally:
                executor.shutdown(cancel_futures=True)

    def of(self, rubric: Rubric, answer: Answer) -> int | None:
        """The rating; None where the rubric is not about the answer or the judge said nothing that could be read."""
        return self._known.get(self._key(rubric, answer)) if rubric.applies(answer) else None

    def num_unread(self, rubric: Rubric, answers: Iterable[Answer]) -> int:
        """How many of `answers` the judge was asked about without saying a rating."""
        return sum(rubric.applies(answer) and self.of(rubric, answer) is None for answer in answers)

    def metric(self, rubric: Rubric) -> SumMetric:
        """The mean rating, over answers that have one."""

        def terms(answer: Answer) -> tuple[float, float] | None:
            rating = self.of(rubric, answer)
            return None if rating is None else (rating, 1.0)

        return SumMetric(key=rubric.key, title=rubric.title, terms=terms, finish=share, unit="rating")

    def _key(self, rubric: Rubric, answer: Answer) -> str:
        if (rubric.key, answer) not in self._keys:
            text = json.dumps([self.judge.name, rubric.key, answer.type, prompt(rubric, answer)])
            self._keys[rubric.key, answer] = hashlib.sha256(text.encode()).hexdigest()
        return self._keys[rubric.key, answer]

    def _keep(self, rubric: Rubric, key: str, rating: int | None) -> None:
        self._known[key] = rating
        if self._path is not None and rating is not None:  # what failed is asked for again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({"key": key, "judge": self.judge.name, "rubric": rubric.key, "rating": rating})
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _read(self, text: str) -> None:
        for line in text.splitlines():
            try:
                kept = json.loads(line)
                self._known[kept["key"]] = kept["rating"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off; it is asked for again
