"""The model and adapters of `model.py` as GGUF, for llama.cpp.

Usage: gguf_model.py FOLDER (that of model.py); writes FOLDER/gguf/base.gguf and FOLDER/gguf/aNN.gguf, all of them bf16. Needs
PyPI gguf, which knows the container; names, order of rows and metadata are told here.

llama.cpp turns neighbours (2i, 2i+1) of a head by the same angle where Hugging Face turns (i, i + half), so the rows of the
query and key maps change places: those of the base, and those of an adapter's B.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

BF16 = GGMLQuantizationType.BF16
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}


def read(path):
    """The tensors of a safetensors file of bf16 alone, as uint16 arrays by name."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, told in json.loads(data[8 : 8 + size]).items():
        start, end = told["data_offsets"]
        found[name] = np.frombuffer(data[8 + size + start : 8 + size + end], np.uint16).reshape(told["shape"])
    return found


def turned(bits, heads):
    """Rows in llama.cpp's order: pair i of each head side by side."""
    rows, columns = bits.shape
    return bits.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def name(part):
    """`layers.3.mlp.up_proj` in llama.cpp's words."""
    _, layer, own = part.split(".", 2)
    return f"blk.{layer}.{NAMES[own]}"


def heads_of(part, config):
    """How many heads' rows a map has to be turned by, if it is one of those."""
    return {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(part.rsplit(".", 1)[1])


def add(writer, name, bits):
    """A matrix as bf16; a vector as f32, which is all that llama.cpp takes for norms."""
    if bits.ndim == 1:
        writer.add_tensor(name, (bits.astype(np.uint32) << 16).view(np.float32))
    else:
        writer.add_tensor(name, np.ascontiguousarray(bits).view(np.uint8), raw_dtype=BF16)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def base(folder, path, config):
    writer = GGUFWriter(path, "llama")
    writer.add_name("base")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(vocab, key=vocab.get))
    writer.add_token_types([1] * len(vocab))
    # One that gives no word: a list must not be empty, and prompts are token ids.
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    # There is no "output.weight": the embedding is used twice.
    for key, bits in read(folder / "model.safetensors").items():
        part = key.removeprefix("model.").removesuffix(".weight")
        if part.startswith("layers."):
            heads = heads_of(part, config)
            add(writer, name(part) + ".weight", turned(bits, heads) if heads else bits)
        else:
            add(writer, {"embed_tokens": "token_embd.weight", "norm": "output_norm.weight"}[part], bits)
    finish(writer)


def adapter(folder, path, config):
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]))
    for key, bits in read(folder / "adapter_model.safetensors").items():
        part, side, _ = key.removeprefix("base_model.model.model.").rsplit(".", 2)
        heads = heads_of(part, config) if side == "lora_B" else None
        add(writer, f"{name(part)}.weight.{side.lower()}", turned(bits, heads) if heads else bits)
    finish(writer)


def main(folder):
    to = folder / "gguf"
    if (to / "base.gguf").exists():
        return
    to.mkdir(exist_ok=True)
    config = json.loads((folder / "base" / "config.json").read_text())
    for one in sorted((folder / "adapters").iterdir()):
        adapter(one, to / f"{one.name}.gguf", config)
    # Last, so that what is there is whole.
    base(folder / "base", to / "new.gguf", config)
    (to / "new.gguf").rename(to / "base.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
