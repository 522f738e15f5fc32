"""Records what the original PyTorch code computes, so that `converters.verify` can be run on the same weights.

This file runs in the original's environment and needs nothing of this repository: copy it there. It uses the Python files of the
original's folder (they are run: use a folder that you trust) with the weights in it, on the CPU in float32.

    python record.py --code InternVideo2/multi_modality/Internvideo2_chat_8B_HD_finetune_PVChat --out recorded --name 8b
    python -m converters.verify --goldens recorded --name 8b --report report.json      # in this repository

The first line writes 8b_config.json, 8b_state_dict.safetensors and 8b_io.npz. Weights are stored as bfloat16 where that loses
nothing. Inputs are random numbers and need no video: frames of noise, and text of random ids around the video's place.
"""

import argparse
import functools
import importlib
import json
import re
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

TEXT_BEFORE, QUESTION, ANSWER = 6, 12, 12
ROUTER = re.compile(r".*\.layer\.(\d+)\.(attention|crossattention)\.self\.router_alpha")
LAST_POSITIONS = 24


class Names:
    """Stands for the tokenizer, which the original asks for the ids of the added names alone."""

    def __init__(self, first_id):
        self.first_id = first_id

    def convert_tokens_to_ids(self, tokens):
        return list(range(self.first_id, self.first_id + len(tokens)))


def load_model(code, state_dict_file):
    """The original's model from its folder, with rows for the added names; in float32, because tables of
    cosines that are made in bfloat16 stay rounded."""
    sys.path.insert(0, str(code.resolve().parent))
    original = importlib.import_module(code.name + ".modeling_videochat2").InternVideo2_VideoChat2
    config = original.config_class.from_pretrained(str(code))
    num_names = 1 + config.model_config["bridge"]["num_prefix_token"]
    model = original.from_pretrained(str(code), config=config, torch_dtype=torch.float32)
    rows = model.get_input_embeddings().weight.shape[0]
    model.tokenizer = Names(rows)
    model.lm.resize_token_embeddings(rows + num_names)
    if state_dict_file is not None:
        saved = torch.load(state_dict_file, map_location="cpu", weights_only=True)
        saved.pop("lm.lm_head.weight", None)  # never called
        model.load_state_dict(saved)
    return model.float().eval(), rows


def make_inputs(model, vocabulary, clips, seed):
    """One row: text, the clips' places, a question, an answer that is supervised."""
    draw = np.random.RandomState(seed)
    vision = model.model_config.vision_encoder
    video = draw.randint(-64, 65, (1, clips, vision.num_frames, 3, vision.img_size, vision.img_size)) / np.float32(32)
    places = clips * sum(tokens.shape[1] for tokens in query_tokens(model))
    length = TEXT_BEFORE + places + QUESTION + ANSWER
    visual = np.zeros((1, length), bool)
    visual[:, TEXT_BEFORE : TEXT_BEFORE + places] = True
    ids = np.where(visual, 0, draw.randint(3, vocabulary, (1, length)))
    ids[0, TEXT_BEFORE + places + 1] = vocabulary  # an added name, in the question
    labels = np.where(np.arange(length)[None] < length - ANSWER, -100, ids)
    return {
        "in/video": video.astype(np.float32),
        "in/video_image_T1": video[:, :, :1].astype(np.float32),
        "in/input_ids": ids,
        "in/attention_mask": np.ones((1, length), np.int64),
        "in/labels": labels,
        "in/video_idx": visual,
    }


def query_tokens(model):
    names = ("query_tokens", "extra_query_tokens", "personal_query_tokens")
    return [getattr(model, name) for name in names if getattr(model, name, None) is not None]


class Recorder:
    """Takes the stages out of a forward pass with hooks, under the names that goldens have."""

    def __init__(self, model):
        self.model, self.stages, self.hooks = model, {}, []
        self.modules = routed_modules(model)
        self.num_queries = sum(tokens.shape[1] for tokens in query_tokens(model))

    def __enter__(self):
        model, layers = self.model, self.model.qformer.bert.encoder.layer
        self._hook(model.vision_encoder, lambda out: {"vision_encoder_out": out.flatten(1, -2)})
        self._hook(model.vision_layernorm, lambda out: {"vision_layernorm_out": out})
        self._hook(model.project_up, lambda out: {"project_up_out": out})
        self._hook(model.qformer.bert, self._qformer)
        self._hook(model.qformer.bert.embeddings, lambda out: {"qformer_embeddings_out_clip0": out[:1]})
        for index, layer in enumerate(layers):
            self._hook(layer, lambda out, index=index: {f"qformer_layer{index}_out_clip0": out[0][0][:1]})
        for index, block in enumerate(model.vision_encoder.blocks):
            self._hook(block, lambda out, index=index: {f"vit_block{index}_out_clip0": out[:1]})
        for name, attention in self.modules.items():
            self._hook(attention.router_alpha, lambda out, name=name: {f"gating_probs.{name}": out[0], f"alpha_probs.{name}": out[1]})
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def _hook(self, module, stages_of):
        self.hooks.append(module.register_forward_hook(lambda _, inputs, out: self.stages.update(stages_of(out))))

    def _qformer(self, out):
        stages = {"qformer_query_out": out.last_hidden_state[:, : self.num_queries], "lb_loss": out.lb_loss}
        if out.last_hidden_state.shape[1] > self.num_queries:
            stages["qformer_text_out"] = out.last_hidden_state[:, self.num_queries :]
        return stages


def routed_modules(model):
    """ReMoH attention modules by name, such as `6.self`, in the order in which they run."""
    found = {}
    for path, _ in model.named_modules():
        match = ROUTER.fullmatch(path)
        if match:
            parent = path.rpartition(".")[0]
            attention = functools.reduce(getattr, parent.split("."), model)
            found[(int(match[1]), match[2] == "crossattention")] = attention
    return {f"{layer}.{'cross' if cross else 'self'}": found[layer, cross] for layer, cross in sorted(found)}


def adaptive_numbers(modules):
    read = lambda name: np.array([float(getattr(module, name)) for module in modules.values()], np.float64)  # noqa: E731
    return {"lambda": read("lambda_"), "alignment_weight": read("alignment_weight")}


def record_call(model, inputs, modules, *, image=False, instruction=None):
    """Every stage of one forward pass; the adaptive numbers go on from where they are."""
    tensors = {name: torch.from_numpy(inputs[f"in/{name}"]) for name in ("input_ids", "attention_mask", "labels", "video_idx")}
    video = torch.from_numpy(inputs["in/video_image_T1" if image else "in/video"])
    before = adaptive_numbers(modules)
    with torch.no_grad(), Recorder(model) as recorder:
        output = model(video=video, instruction=instruction, **tensors)
    stages, after = recorder.stages, adaptive_numbers(modules)
    stages["logits"] = output.logits
    stages["text_embeds"] = output.hidden_states[0]
    stages |= {f"lm_hidden{index}_row0": hidden[:1] for index, hidden in enumerate(output.hidden_states)}
    stages["total_loss"] = output.loss
    stages["lm_loss"] = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), tensors["labels"][:, 1:].flatten())
    arrays = {name: torch.as_tensor(value).detach().float().numpy() for name, value in stages.items()}
    if modules:
        arrays["aux_names"] = np.array(list(modules))
        arrays["aux_lambda_before"], arrays["aux_lambda_after"] = before["lambda"], after["lambda"]
        arrays["aux_alignment_weight_before"], arrays["aux_alignment_weight"] = before["alignment_weight"], after["alignment_weight"]
    return arrays


def record(model, vocabulary, clips, seed):
    """Inputs and the calls vid, vid2, img and ins, as tests/goldens/README.md of this project describes them."""
    modules = routed_modules(model)
    start = {name: (module.lambda_, module.alignment_weight) for name, module in modules.items()}
    io = make_inputs(model, vocabulary, clips, seed)
    instruction = [f"What does the person wear in part {clip}?"[: 20 + 9 * clip] for clip in range(clips)]
    text = model.qformer_tokenizer(instruction, padding="longest", truncation=True, max_length=512, return_tensors="pt")
    io["in/instr_input_ids"], io["in/instr_attention_mask"] = text.input_ids.numpy(), text.attention_mask.numpy()
    calls = {"vid": {}, "vid2": {}, "img": {"image": True}, "ins": {"instruction": instruction}}
    for call, options in calls.items():
        print("recording", call, flush=True)
        if call != "vid2":  # which goes on from vid
            for name, module in modules.items():
                module.lambda_, module.alignment_weight = start[name]
        arrays = record_call(model, io, modules, **options)
        io.update({f"{call}/{name}": array for name, array in arrays.items() if is_kept(call, name)})
        if call in ("img", "ins"):
            io[f"{call}/logits_last{LAST_POSITIONS}"] = arrays["logits"][:, -LAST_POSITIONS:]
    return io


def is_kept(call, name):
    """All of the first call; of the second the losses alone; of the others what is not large and not block by block."""
    numbers = name.startswith("aux_") or name.endswith("_loss")
    routers = name.startswith(("gating_probs", "alpha_probs"))
    return (
        call == "vid"
        or numbers
        or (call != "vid2" and (routers or name in ("vision_encoder_out", "qformer_query_out", "qformer_text_out")))
    )


def describe(model, vocabulary, seed):
    """The sizes, as the configuration of a set."""
    vit, qformer, lm = model.vision_encoder, model.qformer.config, model.lm.config
    sizes, bridge, llm = model.model_config.vision_encoder, model.model_config.bridge, model.model_config.llm
    modules = routed_modules(model)
    router = next(iter(modules.values()), None)
    return {
        "seed": seed,
        "vit": {
            "img_size": sizes.img_size,
            "patch_size": vit.patch_embed.proj.kernel_size[-1],
            "tubelet_size": vit.tubelet_size,
            "num_frames": vit.num_frames,
            "embed_dim": vit.embed_dim,
            "depth": len(vit.blocks) - sizes.x_vis_return_idx - 1,
            "x_vis_return_idx": sizes.x_vis_return_idx,
            "num_heads": vit.blocks[0].attn.num_heads,
            "mlp_hidden": vit.blocks[0].mlp.fc1.out_features,
            "qkv_bias": vit.blocks[0].attn.qkv.bias is not None,
            "rms_eps": vit.blocks[0].norm1.variance_epsilon,
            "sep_image_video_pos_embed": vit.sep_image_video_pos_embed,
            "vision_layernorm_eps": model.vision_layernorm.eps,
        },
        "qformer": {
            "hidden_size": qformer.hidden_size,
            "num_hidden_layers": qformer.num_hidden_layers,
            "num_attention_heads": qformer.num_attention_heads,
            "intermediate_size": qformer.intermediate_size,
            "vocab_size": model.qformer.bert.embeddings.word_embeddings.num_embeddings,
            "max_position_embeddings": qformer.max_position_embeddings,
            "layer_norm_eps": qformer.layer_norm_eps,
            "hidden_act": qformer.hidden_act,
            "cross_attention_freq": qformer.cross_attention_freq,
            "moh_start_layer": int(next(iter(modules)).split(".")[0]) if modules else qformer.num_hidden_layers,
            "num_shared_heads": router.num_shared_heads if modules else 0,
            "moh_top_k": router.top_k if modules else 1,
            "remoe_lambda": float(qformer.remoe_lambda) if modules else 1e-8,
            "k": router.k if modules else 0.8,
            "alignment_weight": qformer.alignment_weight if modules else 0.5,
            "moh_load_balance_weight": router.load_balance_weight if modules else 1,
        },
        "bridge": {
            "num_query_token": bridge.num_query_token,
            "extra_num_query_token": bridge.extra_num_query_token,
            "num_personal_token": bridge.num_personal_token,
            "num_prefix_token": bridge.num_prefix_token,
        },
        "llm": {
            "vocab_size": vocabulary,
            "hidden_size": lm.hidden_size,
            "intermediate_size": lm.intermediate_size,
            "num_hidden_layers": lm.num_hidden_layers,
            "num_attention_heads": lm.num_attention_heads,
            "num_key_value_heads": lm.num_key_value_heads,
            "sliding_window": lm.sliding_window,
            "rope_theta": lm.rope_theta,
            "rms_norm_eps": lm.rms_norm_eps,
            "lora_r": llm.lora_r,
            "lora_alpha": llm.lora_alpha,
        },
        "llm_vocab_after_adding_sks": model.get_input_embeddings().weight.shape[0],
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "peft")},
    }


def compact(tensor):
    """As bfloat16 where that loses nothing, which holds for weights that were published so."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.float32 and torch.equal(tensor.bfloat16().float(), tensor):
        return tensor.bfloat16()
    return tensor.clone()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, required=True, help="folder with the original's Python files, config.json and weights")
    parser.add_argument("--state-dict", type=Path, help="pytorch_model.bin that the original's training saved")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the three files into")
    parser.add_argument("--name", required=True, help="name of the set, such as 8b")
    parser.add_argument("--clips", type=int, default=3, help="clips of the video (default 3: two tiles and the global view)")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)  # for what the weights lack
    model, vocabulary = load_model(arguments.code, arguments.state_dict)
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = arguments.out / arguments.name
    Path(f"{start}_config.json").write_text(json.dumps(describe(model, vocabulary, arguments.seed), indent=1))
    save_file({name: compact(tensor) for name, tensor in model.state_dict().items()}, f"{start}_state_dict.safetensors")
    np.savez(f"{start}_io.npz", **record(model, vocabulary, arguments.clips, arguments.seed))
    print(f"wrote {start}_config.json, {start}_state_dict.safetensors and {start}_io.npz")


if __name__ == "__main__":
    main()
