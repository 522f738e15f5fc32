"""BERTScore (Zhang et al., 2020) with the bert-score package and a model in a local directory; nothing is downloaded.

F1 is not rescaled with a baseline, as in the figures that others publish for this task; so even unrelated sentences score high.
"""

import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.metrics.metric import SumMetric, share

_BATCH = 64


class BertScorer:
    """Remembers what it has scored. `name` says which model and layer, which versions, and that nothing is rescaled."""

    def __init__(self, directory: Path, layer: int | None = None, device: str = "cpu") -> None:
        """Loads the model.

        Args:
          directory: of a model as `save_pretrained` writes it, such as roberta-large.
          layer: whose output is compared; by default the one that the package recommends for a model of the directory's name, or else
            the last.

        Raises:
          UserError: bert-score is not installed, or the directory holds no such model.
        """
        try:
            import bert_score.utils as package
            import transformers
        except ImportError as error:
            raise UserError(f"BERTScore needs packages ({error}); install them with pip install 'pvchat_jax[eval]'.") from error
        directory = Path(directory).absolute()
        if not (directory / "config.json").is_file():
            raise UserError(f"{directory} has no config.json; name the local directory of a model such as roberta-large.")
        transformers.utils.logging.set_verbosity_error()
        try:
            config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
            self._layer = layer or package.model2layers.get(directory.name, config.num_hidden_layers)
            self._tokenizer = package.get_tokenizer(str(directory))
            self._model = package.get_model(str(directory), self._layer).to(device)
        except (OSError, ValueError, KeyError, RuntimeError, AssertionError, AttributeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{directory} cannot be used for BERTScore ({reason}); name a complete directory of a text encoder.") from error
        # A tokenizer that was saved without a limit would let texts through that are longer than the model's positions.
        self._tokenizer.model_max_length = min(self._tokenizer.model_max_length, config.max_position_embeddings - 2)
        self._package, self._device = package, device
        self._known: dict[tuple[str, str], float] = {}
        versions = f"bert-score {importlib.metadata.version('bert-score')}, transformers {transformers.__version__}"
        self.name = f"{directory.name}, layer {self._layer}, F1 not rescaled, no idf ({versions})"

    def score(self, answers: Iterable[Answer]) -> None:
        """Scores what it does not know yet."""
        wanted = dict.fromkeys((answer.answer, answer.gold) for answer in answers)
        pairs = [pair for pair in wanted if pair not in self._known and pair[0].strip() and pair[1].strip()]
        if pairs:
            self._known.update(zip(pairs, self._f1(pairs), strict=True))

    def f1(self, answer: Answer) -> float:
        """F1 of an answer that `score` has seen; an empty one has 0, as in the package."""
        return self._known.get((answer.answer, answer.gold), 0.0)

    def _f1(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        weights: Any = _UniformWeights({self._tokenizer.sep_token_id: 0, self._tokenizer.cls_token_id: 0})
        said, gold = ([pair[side] for pair in pairs] for side in (0, 1))
        scores = self._package.bert_cos_score_idf(self._model, gold, said, self._tokenizer, weights, device=self._device, batch_size=_BATCH)
        return scores[:, 2].tolist()


class _UniformWeights(dict):
    """1 for every token but the given ones."""

    def __missing__(self, token: int) -> float:
        return 1.0


def bertscore_metric(scorer: BertScorer) -> SumMetric:
    """Mean F1 over all questions; the answers must have been given to `scorer.score`."""
    return SumMetric(key="bertscore_f1", title="BERTScore", terms=lambda answer: (scorer.f1(answer), 1.0), finish=share, unit="share")
