"""The recorder's hooks, on a model that has the original's module names and next to none of its mathematics.

That the recorder fits the original itself cannot be tested here; docs/conversion.md says what it was tried with.
"""

import ast
import re
import types

import numpy as np
import pytest

from tests.golden_sets import GOLDENS, load_npz

torch = pytest.importorskip("torch")
record, nn = pytest.importorskip("converters.record"), torch.nn

WIDTH, QUERIES, VOCABULARY, CLIPS = 8, 5, 11, 2


class Router(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router, self.alpha_proj = nn.Linear(WIDTH, 4), nn.Linear(WIDTH, 2, bias=False)

    def forward(self, x):
        return self.router(x).relu(), self.alpha_proj(x).softmax(-1)


class Attention(nn.Module):
    """Routed, with adaptive numbers that every forward pass moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.self = nn.Module()
        self.self.router_alpha, self.self.lambda_, self.self.alignment_weight = Router(), 1e-3, 0.5

    def forward(self, x):
        gates, alpha = self.self.router_alpha(x)
        self.self.lambda_ = torch.as_tensor(self.self.lambda_) * 2
        return x * gates.mean() * alpha.mean()


class Layer(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        self.attention = Attention() if index else nn.Identity()
        self.crossattention = Attention() if index == 2 else nn.Identity()

    def forward(self, x):
        return (self.crossattention(self.attention(x)),), 0.25


class Embeddings(nn.Module):
    def forward(self, queries, text):
        return queries if text is None else torch.cat([queries, torch.zeros(*text.shape, WIDTH)], 1)


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(), nn.Module()
        self.encoder.layer = nn.ModuleList(Layer(index) for index in range(3))

    def forward(self, queries, text):
        x = self.embeddings(queries, text)
        for layer in self.encoder.layer:
            x = layer(x)[0][0]
        return types.SimpleNamespace(last_hidden_state=x, lb_loss=torch.tensor(0.75))


class Vision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)])

    def forward(self, clips):
        x = clips.mean((1, 3, 4))[..., None].expand(-1, -1, WIDTH)
        for block in self.blocks:
            x = block(x)
        return x


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision_encoder, self.vision_layernorm, self.qformer = Vision(), nn.LayerNorm(WIDTH), nn.Module()
        self.qformer.bert, self.project_up = Bert(), nn.Linear(WIDTH, WIDTH)
        self.query_tokens = nn.Parameter(torch.ones(1, QUERIES, WIDTH))
        self.head = nn.Linear(WIDTH, VOCABULARY + 1)
        self.model_config = types.SimpleNamespace(vision_encoder=types.SimpleNamespace(num_frames=2, img_size=4))

    def qformer_tokenizer(self, texts, **options):
        ids = torch.ones(len(texts), 3, dtype=torch.long)
        return types.SimpleNamespace(input_ids=ids, attention_mask=ids)

    def forward(self, video, instruction, input_ids, attention_mask, labels, video_idx):
        clips = video.flatten(0, 1).transpose(1, 2)
        queries = self.query_tokens.expand(len(clips), -1, -1) * self.vision_layernorm(self.vision_encoder(clips)).mean()
        text = None if instruction is None else torch.zeros(len(instruction), 3)
        out = self.qformer.bert(queries, text)
        hidden = torch.zeros(*input_ids.shape, WIDTH)
        hidden[video_idx] = self.project_up(out.last_hidden_state[:, :QUERIES]).flatten(0, 1)
        return types.SimpleNamespace(logits=self.head(hidden), hidden_states=(hidden, hidden), loss=torch.tensor(1.0) + out.lb_loss)


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "*", name.replace("vid2/", "second/"))


def test_arrays_have_the_names_and_the_state_that_goldens_have() -> None:
    torch.manual_seed(0)
    io = record.record(Model(), VOCABULARY, CLIPS, seed=3)
    known = {_without_numbers(name) for name in load_npz(GOLDENS / "A_io.npz")}
    assert {_without_numbers(name) for name in io} <= known
    assert io["vid/aux_names"].tolist() == ["1.self", "2.self", "2.cross"]
    assert {"vid/vit_block1_out_clip0", "vid/qformer_layer2_out_clip0", "vid/lm_hidden1_row0", "ins/qformer_text_out"} <= io.keys()
    assert io["vid/gating_probs.2.cross"].shape == (CLIPS, QUERIES, 4) and io["ins/gating_probs.1.self"].shape == (CLIPS, QUERIES + 3, 4)
    for call, before in (("vid", 1e-3), ("vid2", 2e-3), ("img", 1e-3), ("ins", 1e-3)):  # vid2 alone goes on from another call
        np.testing.assert_allclose(io[f"{call}/aux_lambda_before"], before, rtol=1e-6)
        np.testing.assert_allclose(io[f"{call}/aux_lambda_after"], 2 * before, rtol=1e-6)
    assert io["vid/logits"].shape[1] == io["in/input_ids"].shape[1] and io["img/logits_last24"].shape[1] == 24
    assert io["vid/lb_loss"] == 0.75 and io["vid/total_loss"] == 1.75


def test_inputs_mark_the_clips_and_supervise_the_answer() -> None:
    io = record.make_inputs(Model(), VOCABULARY, CLIPS, seed=3)
    assert io["in/video"].shape == (1, CLIPS, 2, 3, 4, 4) and io["in/video_image_T1"].shape[2] == 1
    assert io["in/video_idx"].sum() == CLIPS * QUERIES and not io["in/input_ids"][io["in/video_idx"]].any()
    assert VOCABULARY in io["in/input_ids"]
    supervised = io["in/labels"] != -100
    assert supervised.sum() == record.ANSWER and (io["in/labels"][supervised] == io["in/input_ids"][supervised]).all()


def test_weights_are_stored_without_loss() -> None:
    published = torch.tensor([1.5, -0.25]).bfloat16().float()
    assert record.compact(published).dtype == torch.bfloat16 and torch.equal(record.compact(published).float(), published)
    own = torch.tensor([0.1])
    assert record.compact(own).dtype == torch.float32 and torch.equal(record.compact(own), own)
    assert record.compact(torch.arange(3)).dtype == torch.int64


def test_it_needs_nothing_of_this_repository() -> None:
    with open(record.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read(), feature_version=(3, 10))  # the Python of the original's environment
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    standard = {"argparse", "functools", "importlib", "json", "re", "sys", "pathlib"}
    assert names == standard | {"numpy", "torch", "safetensors.torch"}
