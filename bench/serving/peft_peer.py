"""torch and PEFT with an adapter a row (`adapter_names`): the rates of bench.py's cases, printed as JSON."""

import json
import sys
import time
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

model_folder, tokens = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
base = AutoModelForCausalLM.from_pretrained(model_folder / "base", dtype=torch.float32)
adapters = sorted((model_folder / "adapters").iterdir())
model = PeftModel.from_pretrained(base, adapters[0], adapter_name=adapters[0].name)
for adapter in adapters[1:]:
    model.load_adapter(adapter, adapter_name=adapter.name)
model.eval()


def prompt(seed, length):
    return [(seed * 7919 + at * 104729 + at * at * 31) % 40000 + 300 for at in range(length)]


@torch.no_grad()
def decode(names, count, length):
    """CPU-seconds of decoding `count` tokens a row after the prompt, and of the prompt."""
    ids = torch.tensor([prompt(at, length) for at in range(len(names))])
    names = [name or "__base__" for name in names]
    start = time.process_time()
    out = model(input_ids=ids, use_cache=True, adapter_names=names)
    read = time.process_time() - start
    start = time.process_time()
    for _ in range(count):
        ids = out.logits[:, -1:].argmax(-1)
        out = model(input_ids=ids, past_key_values=out.past_key_values, use_cache=True, adapter_names=names)
    return time.process_time() - start, read


rates = {}
first = adapters[0].name
for case, names in {
    "n=1, no adapter": [None],
    "n=1, one adapter": [first],
    "n=16, no adapter": [None] * 16,
    "n=16, one adapter": [first] * 16,
    "n=16, 16 adapters": [adapter.name for adapter in adapters],
}.items():
    spent, _ = decode(names, tokens - 1, 64)
    rates[case] = len(names) * (tokens - 1) / spent
for case, name in {"prefill, no adapter": None, "prefill, one adapter": first}.items():
    rates[case] = 1024 / decode([name], 0, 1024)[1]
print(json.dumps(rates))
