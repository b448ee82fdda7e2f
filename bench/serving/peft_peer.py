"""torch and PEFT with an adapter a row (`adapter_names`), in f32: the rates of bench.py's cases, printed as JSON.

Usage: peft_peer.py MODEL, the cases as JSON on the standard input. PEFT has no server, and pays none.
"""

import json
import sys
import time
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

given = json.load(sys.stdin)
folder = Path(sys.argv[1])
torch.set_num_threads(1)
base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
adapters = sorted((folder / "adapters").iterdir())
model = PeftModel.from_pretrained(base, adapters[0], adapter_name=adapters[0].name)
for adapter in adapters[1:]:
    model.load_adapter(adapter, adapter_name=adapter.name)
model.eval()


def spent(since):
    """CPU-seconds and seconds since the two clocks' readings `since`."""
    return time.process_time() - since[0], time.monotonic() - since[1]


def clocks():
    return time.process_time(), time.monotonic()


@torch.no_grad()
def decode(names, prompts, count):
    """The `count` ids that follow each prompt, and what prompts and steps took; the prompt's own step gives the first id."""
    ids = torch.tensor(prompts)
    names = [name or "__base__" for name in names]
    since = clocks()
    out = model(input_ids=ids, use_cache=True, adapter_names=names, logits_to_keep=1)
    read, since, made = spent(since), clocks(), []
    for _ in range(count):
        made.append(out.logits[:, -1:].argmax(-1))
        out = model(input_ids=made[-1], past_key_values=out.past_key_values, use_cache=True, adapter_names=names)
    return made, read, spent(since)


def rate(tokens, times):
    return {"cpu": tokens / times[0], "wall": tokens / times[1]}


rates, greedy = {}, {}
for case in given["cases"]:
    made = len(case["adapters"]) * case["tokens"]
    _, _, steps = decode(case["adapters"], case["prompts"], case["tokens"])
    rates[case["name"]] = [rate(made, steps)]
for case in given["prefills"]:
    _, read, _ = decode([case["adapter"]], [case["prompt"]], 0)
    rates[case["name"]] = [rate(len(case["prompt"]), read)]
for case in given["check"]:
    made, _, _ = decode([case["adapter"]], [case["prompt"]], case["tokens"])
    greedy[case["adapter"] or "base"] = [int(one) for one in made]
print(json.dumps({"rates": rates, "greedy": greedy, "notes": []}))
