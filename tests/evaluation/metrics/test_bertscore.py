"""BERTScore on a tiny random BERT, against the package's own function."""

from pathlib import Path

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.metrics.bertscore import BertScorer, bertscore_metric
from pvchat_jax.evaluation.metrics.metric import value_of
from tests.evaluation.answered import content

bert_score = pytest.importorskip("bert_score")
WORDS = "a man in red waves and smiles at the beach".split()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers that knows ten words, saved without a limit on length, as many tokenizers are."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 20}
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    BertModel(BertConfig(**size, vocab_size=14)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_scores_are_those_of_the_package(directory: Path) -> None:
    pairs = [("a man waves", "a man in red smiles"), ("the beach", "the beach"), ("red", "a man at the beach smiles")]
    answers = [content(str(n), "positive", gold, said) for n, (said, gold) in enumerate(pairs)]
    scorer = BertScorer(directory, layer=1)
    scorer.score(answers)
    tokenizer_limit = 18  # what positions leave room for; the package itself fails on a tokenizer without a limit
    _, _, expected = package_scores(directory, pairs, tokenizer_limit)
    assert [scorer.f1(answer) for answer in answers] == pytest.approx(expected.tolist(), abs=1e-6)
    assert value_of(bertscore_metric(scorer), answers) == pytest.approx(float(expected.mean()))
    assert scorer.name.startswith("tiny-bert, layer 1, F1 not rescaled, no idf (bert-score 0.3.13")


def package_scores(directory: Path, pairs: list[tuple[str, str]], limit: int):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.model_max_length = limit
    limited = directory.parent / "limited"
    (directory.parent / "limited").mkdir(exist_ok=True)
    for file in directory.iterdir():
        (limited / file.name).write_bytes(file.read_bytes())
    tokenizer.save_pretrained(limited)
    return bert_score.score([said for said, _ in pairs], [gold for _, gold in pairs], model_type=str(limited), num_layers=1, device="cpu")


def test_the_last_layer_counts_where_none_is_recommended_and_long_answers_are_cut(directory: Path) -> None:
    scorer = BertScorer(directory)
    empty, long = content("a", "positive", "a man", "  "), content("b", "positive", "a man", "red " * 200)
    scorer.score([empty, long])
    assert "layer 2" in scorer.name
    assert scorer.f1(empty) == 0 and -1 <= scorer.f1(long) <= 1


def test_a_directory_that_is_no_model_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no config"):
        BertScorer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="cannot be used for BERTScore"):
        BertScorer(tmp_path)
