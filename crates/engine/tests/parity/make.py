#!/usr/bin/env python3
"""Golden outputs of `transformers` and `peft` on models that both sides can make from nothing.

Weights are too large to keep, so they come from a generator: value `i` of tensor `name` is a small whole number
drawn from `draw(seed, fnv1a(name), i)` (SplitMix64, `crates/engine/src/rng.rs`) times a power of two, exact in
bf16 and f32. This script fills randomly shaped models with them, runs torch in f32 on a CPU, and writes one small JSON per
shape beside itself: the configurations as transformers and PEFT save them, token ids, and what came out.
`crates/engine/tests/main/reference.rs` makes the same weights and compares.

Run again only to change shapes:  python make.py [name ...]
Pinned: Python 3.11, torch==2.15.0, transformers==5.23.0, peft==0.21.2, numpy==2.4.6
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

HERE = Path(__file__).parent
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TOP = 8


def finalise(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(seed, stream, counters):
    """`draw` of rng.rs for an array of counters."""
    with np.errstate(over="ignore"):
        seed, stream = np.uint64(seed), np.uint64(stream)
        mixed = finalise(seed ^ finalise(stream + GOLDEN))
        return finalise(mixed + counters * GOLDEN)


def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def tensor(seed, name, shape, shift):
    """Norms: 1 + k/64 with |k| <= 15; all else: k / 2^shift with |k| <= 127."""
    bits = draw(seed, fnv1a(name), np.arange(int(np.prod(shape)), dtype=np.uint64))
    if "norm" in name:
        values = 1.0 + ((bits >> np.uint64(40)) % np.uint64(31)).astype(np.float64) / 64.0 - 15.0 / 64.0
    else:
        whole = ((bits >> np.uint64(40)) % np.uint64(255)).astype(np.float64) - 127.0
        values = whole / 2.0 ** (8 if name.endswith(".bias") else shift)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def tokens(seed, count, vocab):
    return (draw(seed, 5, np.arange(count, dtype=np.uint64)) % np.uint64(vocab)).astype(np.int64)


SMALL = dict(vocab_size=523, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)

SHAPES = {
    "smollm2-135m": dict(
        config=LlamaConfig(
            hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            vocab_size=49152, max_position_embeddings=8192, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
            tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        ),
        shift=11, tokens=12, greedy=4,
        adapters=[dict(r=8, lora_alpha=16, target_modules="all-linear")],
    ),
    "qwen3": dict(
        config=Qwen3Config(
            hidden_size=96, intermediate_size=200, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
            head_dim=32, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, tie_word_embeddings=True, **SMALL,
        ),
        adapters=[
            dict(r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"],
                 rank_pattern={r"layers\.1\.self_attn\.q_proj": 6, "down_proj": 3}, alpha_pattern={"v_proj": 12}),
        ],
    ),
    "qwen2": dict(
        config=Qwen2Config(
            hidden_size=112, intermediate_size=300, num_hidden_layers=3, num_attention_heads=7, num_key_value_heads=1,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, tie_word_embeddings=False, **SMALL,
        ),
        adapters=[
            dict(r=5, lora_alpha=10, target_modules=r"model\.layers\.[02]\.(self_attn|mlp)\.(k_proj|o_proj|gate_proj)"),
        ],
    ),
    "qwen2-yarn": dict(
        config=Qwen2Config(
            hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64},
            tie_word_embeddings=True, **SMALL,
        ),
        adapters=[dict(r=2, lora_alpha=4, target_modules=["up_proj", "q_proj"], layers_to_transform=[1])],
    ),
    "llama3": dict(
        config=LlamaConfig(
            hidden_size=128, intermediate_size=172, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=4,
            rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
            tie_word_embeddings=False, **SMALL,
        ),
        adapters=[
            dict(r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]),
            dict(r=4, lora_alpha=4, target_modules=["q_proj", "gate_proj"]),
        ],
        ensemble=[0.75, -0.5],
    ),
    "llama-bias-linear": dict(
        config=LlamaConfig(
            hidden_size=64, intermediate_size=100, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0},
            attention_bias=True, mlp_bias=True, tie_word_embeddings=True, **SMALL,
        ),
        adapters=[dict(r=2, lora_alpha=8, target_modules="all-linear", exclude_modules=["gate_proj", "1.self_attn.v_proj"])],
    ),
    "llama-dynamic": dict(
        config=LlamaConfig(
            hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=20, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
            tie_word_embeddings=True, **SMALL,
        ),
        adapters=[dict(r=2, lora_alpha=3, target_modules=["k_proj", "up_proj"])],
    ),
}


def numbers(values, digits=8):
    return [float(f"{float(x):.{digits}g}") for x in values]


def outputs(model, ids, greedy):
    """What the engine must give for `ids` (int64 array)."""
    batch = torch.from_numpy(ids)[None]
    with torch.no_grad():
        out = model(batch, output_hidden_states=True)
    logits = out.logits[0]
    logprobs = torch.log_softmax(logits[:-1].double(), -1).gather(1, batch[0, 1:, None])[:, 0]
    top = torch.topk(logits[-1], TOP)
    mean = out.hidden_states[-1][0].double().mean(0)
    whole, chosen = batch, []
    for _ in range(greedy):
        with torch.no_grad():
            best = int(model(whole).logits[0, -1].argmax())
        chosen.append(best)
        whole = torch.cat([whole, torch.tensor([[best]])], 1)
    return {
        "top": [[int(i), x] for i, x in zip(top.indices, numbers(top.values))],
        "logprobs": numbers(logprobs),
        "sum_logprob": numbers([logprobs.sum()], 12)[0],
        "mean_hidden": numbers(mean[:16]),
        "mean_hidden_norm": numbers([mean.norm()])[0],
        "greedy": chosen,
    }


def gradients(model, ids):
    """Shape, norm and first values of each adapter gradient of the mean loss."""
    batch = torch.from_numpy(ids)[None]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        parameter.grad = None
    loss = torch.nn.functional.cross_entropy(model(batch).logits[0, :-1], batch[0, 1:])
    loss.backward()
    return {
        name: {"shape": list(p.shape), "norm_and_first": numbers([p.grad.double().norm(), *p.grad.flatten()[:3]])}
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def adapter_file(model, name):
    """`adapter_config.json` as PEFT saves it; its sets in order, so that two runs agree."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, selected_adapters=[name])
        files = list(Path(folder).rglob("adapter_config.json"))
        config = json.loads(files[0].read_text())
    for key in ["target_modules", "exclude_modules"]:
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    return config


def make(name, shape, seed):
    torch.set_num_threads(2)
    config, shift = shape["config"], shape.get("shift", 9)
    base = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        for key, parameter in base.named_parameters():
            parameter.copy_(tensor(seed, key, tuple(parameter.shape), shift))
    ids = tokens(seed, shape.get("tokens", 48), config.vocab_size)
    greedy = shape.get("greedy", 12)
    config.architectures = [type(base).__name__]
    saved = json.loads(config.to_json_string())
    golden = {"name": name, "seed": seed, "shift": shift, "config": saved, "ids": ids.tolist()}
    golden["base"] = outputs(base, ids, greedy)

    golden["adapters"], peft = [], None
    for i, settings in enumerate(shape["adapters"]):
        label = f"a{i}"
        lora = LoraConfig(task_type="CAUSAL_LM", **settings)
        if peft is None:
            peft = get_peft_model(base, lora, adapter_name=label)
        else:
            peft.add_adapter(label, lora)
        peft.set_adapter(label)
        peft.eval()
        with torch.no_grad():
            for key, parameter in peft.named_parameters():
                if f".{label}." in key:
                    file_name = key.replace(f".{label}", "")
                    # A shift of its own, so that the adapter changes the output visibly.
                    parameter.copy_(tensor(seed + 1 + i, file_name, tuple(parameter.shape), 10))
        entry = {"seed": seed + 1 + i, "shift": 10, "config": adapter_file(peft, label)}
        entry |= outputs(peft, ids, greedy)
        if name != "smollm2-135m":
            entry["gradients"] = {k.replace(f".{label}", ""): v for k, v in gradients(peft, ids).items() if f".{label}." in k}
        golden["adapters"].append(entry)
    if "ensemble" in shape:
        labels = [f"a{i}" for i in range(len(shape["ensemble"]))]
        peft.add_weighted_adapter(labels, shape["ensemble"], "sum", combination_type="cat")
        peft.set_adapter("sum")
        golden["ensemble"] = {"weights": shape["ensemble"]} | outputs(peft, ids, greedy)
    text = json.dumps(golden, separators=(",", ":"))
    # One line per part keeps diffs readable.
    for part in ["config", "ids", "base", "adapters", "ensemble"]:
        text = text.replace(f',"{part}":', f',\n"{part}":')
    (HERE / f"{name}.json").write_text(text + "\n")
    print(name, golden["base"]["top"][:2], golden["base"]["sum_logprob"], [a["sum_logprob"] for a in golden["adapters"]])


def main():
    wanted = sys.argv[1:] or list(SHAPES)
    for index, (name, shape) in enumerate(SHAPES.items()):
        if name in wanted:
            make(name, shape, 1000 + 10 * index)


if __name__ == "__main__":
    main()
