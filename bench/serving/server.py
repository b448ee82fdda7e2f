"""A server behind HTTP: asked, timed, and looked at from outside (CPU time, memory)."""

import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from cases import CHECK_PROMPT, CHECKS, DECODES, PREFILL, PREFILLS, PROMPT, prompt

TICK = os.sysconf("SC_CLK_TCK")
#: Seconds within which a server must answer its first question, and any.
START_MAX, ANSWER_MAX = 900, 900


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


class Server:
    """A running server. Every prompt that it is given is new to it."""

    def __init__(self, command, port, environment=None):
        self.port, self.asked = port, 0
        self.log = Path(tempfile.gettempdir()) / f"bench-serving-{port}.log"
        started = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, env=environment)
        while time.monotonic() < started + START_MAX:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.last_words()}")
            try:
                self.get("/v1/models")
                break
            except OSError:
                time.sleep(0.05)
        else:
            self.stop()
            raise RuntimeError(f"did not answer within {START_MAX} s: {self.last_words()}")
        self.start_seconds = time.monotonic() - started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self):
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-2:])[-300:] or f"nothing in {self.log}"

    def memory(self):
        """Resident bytes of the server's own process, mapped files included."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            return response.read().decode()

    def post(self, path, body, key=None):
        """The open connection and its answer's head; the caller reads and closes. A refusal is an error with its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_MAX)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            told = response.read().decode(errors="replace")
            connection.close()
            raise RuntimeError(f"{path}: {response.status} {told[:300]}")
        return connection, response

    def text(self, path, body):
        connection, response = self.post(path, body)
        try:
            return response.read().decode()
        finally:
            connection.close()

    def new_prompt(self, length):
        self.asked += 1
        return prompt(1000 + self.asked, length)

    @staticmethod
    def body(model, ids, tokens):
        return {"model": model or "base", "prompt": ids, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}

    def ask(self, model, ids, tokens, **more):
        return json.loads(self.text("/v1/completions", self.body(model, ids, tokens) | more))

    def first_token(self, model, ids, tokens=1, key=None, **more):
        """Seconds from the request to the first text of a streamed answer, which is read to its end."""
        started = time.perf_counter()
        connection, response = self.post("/v1/completions", self.body(model, ids, tokens) | {"stream": True} | more, key)
        try:
            first = None
            for line in response:
                if first is None and line.startswith(b"data:"):
                    first = time.perf_counter() - started
            return first
        finally:
            connection.close()

    def together(self, models, tokens, length, at_once=None):
        """Asks once for each of `models`, `at_once` at a time: CPU-seconds, seconds and tokens written."""
        asks = [(model, self.new_prompt(length)) for model in models]
        made, failed, lock = [], [], threading.Lock()

        def work():
            while True:
                with lock:
                    if not asks or failed:
                        return
                    model, ids = asks.pop(0)
                try:
                    made.append(self.ask(model, ids, tokens)["usage"]["completion_tokens"])
                except (OSError, RuntimeError, ValueError) as error:
                    failed.append(error)

        cpu, clock = self.cpu(), time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(at_once or len(models))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise RuntimeError(f"a request failed: {failed[0]}")
        return self.cpu() - cpu, time.monotonic() - clock, sum(made)


def measure(server, log):
    """Rates of every case: tokens per CPU-second of the server and per second.

    The rate of writing is that of a long run less one of a single token each, so that reading the prompts does not count.
    """
    rates = {}
    server.together([None], 2, PROMPT)
    for name, adapters, tokens in DECODES:
        server.together(adapters, 1, PROMPT)
        short, long = server.together(adapters, 1, PROMPT), server.together(adapters, tokens + 1, PROMPT)
        cpu, clock, made = (more - less for more, less in zip(long, short))
        rates[name] = [{"cpu": made / max(cpu, 1 / TICK), "wall": made / max(clock, 1e-3)}]
        log(name, rates[name])
    for name, adapter in PREFILLS:
        cpu, clock, _ = server.together([adapter], 1, PREFILL)
        rates[name] = [{"cpu": PREFILL / cpu, "wall": PREFILL / clock}]
        log(name, rates[name])
    greedy = {}
    for adapter, seed, tokens in CHECKS:
        answer = server.ask(adapter, prompt(seed, CHECK_PROMPT), tokens, return_token_ids=True)
        greedy[adapter or "base"] = answer["choices"][0].get("token_ids")
    return {"rates": rates, "greedy": greedy}
