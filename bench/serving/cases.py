"""What every server is asked, so that peers cannot differ in it."""

#: Tokens of a prompt, and of the long prompt whose reading is measured.
PROMPT, PREFILL = 64, 1024
#: Name, the adapter of each sequence (`None` for the base), tokens written by each.
DECODES = [
    ("n=1, no adapter", [None], 96),
    ("n=1, one adapter", ["a00"], 96),
    ("n=16, no adapter", [None] * 16, 96),
    ("n=16, one adapter", ["a00"] * 16, 96),
    ("n=16, 16 adapters", [f"a{at:02}" for at in range(16)], 96),
]
#: Name, adapter.
PREFILLS = [("prefill 1,024, no adapter", None), ("prefill 1,024, one adapter", "a00")]
#: First tokens that everybody must agree on: adapter, prompt's seed, tokens. Weights are random, so that logits lie close
#: together: in bf16 a few tokens are as many as agree.
CHECKS = [(None, 1, 8), ("a00", 1, 8)]
CHECK_PROMPT = 16
#: Adapters of the scenarios with many, and how many of them are of full size and are asked for.
COUNT, LARGE = 10_000, 1_000


def prompt(seed, length):
    """Token ids that repeat nowhere, so that nothing is found in a cache."""
    return [(seed * 7919 + at * 104729 + at * at * 31) % 40000 + 300 for at in range(length)]


def in_process():
    """All of it for a peer without a server, as JSON can tell it."""
    return {
        "cases": [
            {"name": name, "adapters": adapters, "tokens": tokens, "prompts": [prompt(at, PROMPT) for at in range(len(adapters))]}
            for name, adapters, tokens in DECODES
        ],
        "prefills": [{"name": name, "adapter": adapter, "prompt": prompt(99, PREFILL)} for name, adapter in PREFILLS],
        "check": [
            {"adapter": adapter, "prompt": prompt(seed, CHECK_PROMPT), "tokens": tokens} for adapter, seed, tokens in CHECKS
        ],
    }
