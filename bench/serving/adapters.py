"""What thousands of adapters cost our server, through HTTP: cold loads, a cache far smaller than their number, memory, fairness."""

import functools
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

import install
from cases import COUNT, LARGE
from server import Server

HERE = Path(__file__).resolve().parent
PORT = 18101
HOT, EXPONENT, ROUNDS, REQUESTS, AT_ONCE = 64, 1.0, 3, 128, 16
# An id whose text is a letter: the weights are random, and half a character is not shown until the other half is there.
SHOWN = {"68": 100}
ADAPTER_BYTES = 4_950_000
CACHE_BYTES, KV_BYTES, BASE_BYTES = HOT * ADAPTER_BYTES, 128 << 20, 270_000_000


@functools.cache
def known(server):
    """What the server's help tells, so that an older one can be measured too."""
    words = [server, "serve", "--help"] if server.name == "openledger" else [server, "--help"]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def start(server, base, adapters, **more):
    """Ours, with one thread for its arithmetic as every peer has; `more` are further arguments, named as Python names them."""
    command = [server] + (["serve"] if server.name == "openledger" else [])
    command += ["--base", base, "--adapters", adapters, "--port", PORT]
    for name, value in {"threads": 1, **more}.items():
        flag = f"--{name.replace('_', '-')}"
        if f"{flag} " in known(server):
            command += [flag, value]
        elif name == "mode" and value != "f32fma-1":
            raise RuntimeError(f"this server has no {flag}")
        else:
            print(f"    this server has no {flag}", file=sys.stderr)
    return Server(command, PORT)


def large(number):
    return f"z{number:05}"


def zipf(seed, count):
    """`count` ranks below LARGE by Zipf's law."""
    weights = [1 / (rank + 1) ** EXPONENT for rank in range(LARGE)]
    return random.Random(seed).choices(range(LARGE), weights, k=count)


def quantile(values, share):
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]


def loads(server):
    """How often an adapter came into memory so far."""
    return int(re.search(r"adapter_loads_total (\d+)", server.get("/metrics"))[1])


def drop_page_cache(*folders):
    """Lets the system forget the files' pages, so that the next read is the disk's."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def cold(server, numbers):
    """Each adapter's first request and its second: milliseconds to the first token by the clock, and CPU time on average."""
    times, cpu = {"cold": [], "hot": []}, {"cold": 0, "hot": 0}
    for number in numbers:
        for state in ("cold", "hot"):
            before = server.cpu()
            times[state].append(1e3 * server.first_token(large(number), server.new_prompt(8)))
            cpu[state] += server.cpu() - before
    later = [first - again for first, again in zip(times["cold"], times["hot"])]
    return later, median(times["hot"]), 1e3 * (cpu["cold"] - cpu["hot"]) / len(later)


def traffic(server, log):
    """Ratios of throughput, by clock and by CPU time, of Zipf's traffic to the same on the hot adapters, and what was read."""
    ratios, read = [], 0
    for turn in range(ROUNDS):
        ranks = zipf(turn, REQUESTS)
        rates = {}
        for name, numbers in (("hot", [rank % HOT for rank in ranks]), ("zipf", ranks)):
            # What came before must not count: either all hot ones are in memory, or what this traffic leaves there.
            before = range(HOT) if name == "hot" else zipf(100 + turn, 2 * HOT)
            server.together([large(number) for number in before], 1, 2, AT_ONCE)
            earlier = loads(server)
            cpu, clock, _ = server.together([large(number) for number in numbers], 16, 32, AT_ONCE)
            rates[name] = (REQUESTS / clock, REQUESTS / cpu)
            read_now = loads(server) - earlier
            read += read_now if name == "zipf" else 0
            log(f"{name}, turn {turn + 1}", f"{rates[name][0]:.2f} requests/s, {rates[name][1]:.2f} per CPU-second, {read_now} loads")
        ratios.append([zipf_rate / hot_rate for zipf_rate, hot_rate in zip(rates["zipf"], rates["hot"])])
    return median(one[0] for one in ratios), median(one[1] for one in ratios), read


def again(server):
    """Resident bytes after 100 and after 1,000 rounds of loading one adapter, asking it, and unloading it."""
    memory = {}
    for turn in range(1, 1001):
        server.text("/v1/load_lora_adapter", {"lora_name": "again", "lora_path": "more/again"})
        server.ask("again", server.new_prompt(2), 1)
        server.text("/v1/unload_lora_adapter", {"lora_name": "again"})
        if turn in (100, 1000):
            memory[turn] = server.memory()
    return memory[100], memory[1000]


def noisy(server, length, log):
    """p99 in milliseconds of one tenant's time to the first token of prompts that long: alone, beside 16 long requests of
    another, beside 100."""
    found = {}
    for others in (0, 16, 100):
        crowd = [Long(server, at) for at in range(others)]
        until(lambda: busy(server) >= others)
        times = [server.first_token("a01", server.new_prompt(length), 2, "tenant-b", logit_bias=SHOWN) for _ in range(100)]
        for one in crowd:
            one.hang_up()
        until(lambda: busy(server) == 0)
        found[others] = 1e3 * quantile(times, 0.99)
        log(f"prompts of {length} beside {others} long requests", f"p99 {found[others]:.0f} ms, median {1e3 * median(times):.0f} ms")
    return found


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"what was waited for did not come within {seconds} s")
        time.sleep(0.05)


def busy(server):
    """Requests that run or wait."""
    text = server.get("/metrics")
    return sum(int(re.search(rf"openledger_serving_{name} (\d+)", text)[1]) for name in ("running", "waiting"))


class Long:
    """A long request of the noisy tenant, read until it is hung up."""

    def __init__(self, server, at):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port)
        self.connection.connect()
        body = json.dumps(server.body(f"a{at % 16:02}", server.new_prompt(256), 512) | {"stream": True})
        headers = {"content-type": "application/json", "authorization": "Bearer tenant-a"}
        self.connection.request("POST", "/v1/completions", body, headers)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            self.connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass

    def hang_up(self):
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()


def measure(program, python, cache, log):
    """All of it: lines of name, bar, finding."""
    base, few, folder, sidecars = cache / "model" / "base", cache / "model" / "adapters", cache / "many", cache / "sidecars"
    install.run(python, HERE / "many_adapters.py", folder)
    shutil.rmtree(sidecars, ignore_errors=True)
    lines = []
    options = {"cache_bytes": CACHE_BYTES, "kv_bytes": KV_BYTES, "cache": sidecars}

    def say(name, wanted, told, ok=None):
        lines.append((name, wanted, told + {None: "", True: " pass", False: " MISS"}[ok]))
        log(name, lines[-1][2])

    def say_start(name, server):
        say(name, "", f"{server.start_seconds:.1f} s, {server.cpu():.1f} CPU-s, RSS {server.memory() >> 20} MiB")

    def say_cold(state, server):
        # The first ones pay for what the server makes once.
        cold(server, range(900, 905))
        later, hot, cpu = cold(server, range(300, 400))
        say(f"a cold adapter's first token later than a hot one's, {state}", "≤ 5 ms",
            f"median {median(later):.1f} ms, p95 {quantile(later, 0.95):.1f} ms of {len(later)} (hot {hot:.1f} ms); "
            f"CPU time {cpu:.1f} ms:", median(later) <= 5)

    def fresh():
        with start(program, base, folder, **options) as server:
            say_start(f"start with {COUNT:,} adapters, the first time", server)
            # The start has just read them all.
            say_cold("files in the page cache", server)

    def second():
        drop_page_cache(folder, sidecars)
        with start(program, base, folder, **options) as server:
            say_start("start again, files not in the page cache", server)
            say_cold("files not in the page cache", server)
            clock, cpu, read = traffic(server, log)
            say(f"Zipf traffic (exponent {EXPONENT}) over {LARGE:,} adapters with a cache of {HOT}, over hot-only", "≥ 0.90",
                f"{clock:.2f} by clock, {cpu:.2f} by CPU time, {read} loads in {ROUNDS * REQUESTS} requests:", clock >= 0.9)
            used, most = server.memory(), BASE_BYTES + CACHE_BYTES + KV_BYTES + (150 << 20)
            say("RSS after that", f"< {most >> 20} MiB", f"{used >> 20} MiB", used < most)
            early, late = again(server)
            say("RSS when one adapter was loaded, asked and unloaded 100 times, and 1,000 times", "flat (5 MiB)",
                f"{early >> 20} MiB, {late >> 20} MiB", late - early < 5 << 20)

    def tenants():
        with start(program, base, few) as server:
            for length in (16, 64, 256):
                found = noisy(server, length, log)
                say(f"p99 of a tenant's first token beside 100 long requests of another, over alone; prompts of {length}", "≤ 2",
                    f"{found[100]:.0f} ms / {found[0]:.0f} ms = {found[100] / found[0]:.2f}", found[100] <= 2 * found[0])
                say("the same over beside 16 long requests, which fill the batch and leave none waiting", "",
                    f"{found[100]:.0f} ms / {found[16]:.0f} ms = {found[100] / found[16]:.2f}")

    for scenario in (fresh, second, tenants):
        try:
            scenario()
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            say(f"what was left of `{scenario.__name__}`", "", f"open, {error}")
    return {"lines": lines}
