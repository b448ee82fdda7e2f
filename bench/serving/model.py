"""A base of SmolLM2-135M's shape with random weights, and adapters of rank 8 on all seven projections, by seed.

Usage: model.py FOLDER. Needs numpy alone. All values are bf16 (the upper half of an f32), so that every server computes with
the same numbers, whatever it keeps weights and adapters in.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD, VOCAB = 30, 576, 1536, 9, 3, 64, 49152
ADAPTERS, RANK = 16, 8
SHAPES = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (FFN, HIDDEN),
    "mlp.up_proj": (FFN, HIDDEN),
    "mlp.down_proj": (HIDDEN, FFN),
}


def safetensors(path, tensors):
    """Writes `tensors` (name -> uint16 array: bf16) as one file; its bytes are by name and value alone."""
    header, at = {}, 0
    for name, bits in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [at, at + bits.nbytes]}
        at += bits.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for bits in tensors.values():
            file.write(np.ascontiguousarray(bits))


def bf16(values):
    """The upper halves of float32 values: rounded towards zero."""
    return (np.ascontiguousarray(values, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)


def draws(seed):
    """A function that draws bf16 values of a shape."""
    random = np.random.default_rng(seed)
    return lambda *shape: bf16(random.standard_normal(shape, dtype=np.float32) * 0.03)


def write(path, value):
    path.write_text(json.dumps(value))


def adapter(folder, draw, rank=RANK, names=tuple(SHAPES)):
    """A PEFT folder of an adapter on the projections `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    low = {}
    for layer in range(LAYERS):
        for name in names:
            rows, columns = SHAPES[name]
            stem = f"base_model.model.model.layers.{layer}.{name}"
            low[f"{stem}.lora_A.weight"] = draw(rank, columns)
            low[f"{stem}.lora_B.weight"] = draw(rows, rank)
    safetensors(folder / "adapter_model.safetensors", low)
    write(folder / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": rank,
        "lora_alpha": 2 * rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": [name.split(".")[1] for name in names],
    })


def tokenizer():
    """Byte-level BPE without merges: 256 bytes, the rest are words that no text holds."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    alphabet = [chr(byte) if byte in plain else chr(0x100 + rest.index(byte)) for byte in range(256)]
    vocab = {character: at for at, character in enumerate(alphabet)}
    vocab.update({f"w{at}": at for at in range(256, VOCAB)})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": False}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": level, "post_processor": None,
            "decoder": level, "model": model}


def main(folder):
    base = folder / "base"
    if (base / "model.safetensors").exists():
        return
    base.mkdir(parents=True, exist_ok=True)
    draw, ones = draws(1), bf16(np.ones(HIDDEN))
    tensors = {"model.embed_tokens.weight": draw(VOCAB, HIDDEN), "model.norm.weight": ones}
    for layer in range(LAYERS):
        for name, shape in SHAPES.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = draw(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = ones
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD,
        "vocab_size": VOCAB, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
    }
    write(base / "config.json", config)
    write(base / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    write(base / "tokenizer.json", tokenizer())
    write(base / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    for number in range(ADAPTERS):
        adapter(folder / "adapters" / f"a{number:02}", draws(100 + number))
    # Last, so that what is there is whole.
    safetensors(base / "model.safetensors", tensors)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
