"""The program under test, in a folder of its own, with arrays and JSON in and out."""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("NEARFAR_BIN", str(ROOT / "build" / "cli" / "nearfar"))
HUNG = 120  # seconds of a program that waits for ever; a slow or busy machine needs fewer
TICKS = os.sysconf("SC_CLK_TCK")


class Exit:
    """The exit codes of the program."""

    OK, FAILED, USAGE, DATA, DIVERGED, MEMORY, IO = range(7)
    SIGINT, SIGTERM = 130, 143


class Cli:
    def __init__(self, folder):
        self.folder = folder
        self.binary = BINARY

    def save(self, **arrays):
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)

    def load(self, name):
        return np.load(self.folder / name)

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")

    def bytes(self, name):
        return (self.folder / name).read_bytes()

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def run(self, *arguments, **options):
        options.setdefault("timeout", 5 * HUNG)
        options.setdefault("text", True)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.run([BINARY, *map(str, arguments)], cwd=self.folder, check=False,
                              **options)

    def ok(self, *arguments, **options):
        done = self.run(*arguments, **options)
        assert done.returncode == Exit.OK, done.stderr
        return done

    def json(self, *arguments):
        """Exactly one JSON document on standard output, no NaN or Infinity in it."""

        def refuse(word):
            raise AssertionError(f"{word} is not JSON")

        return json.loads(self.ok(*arguments, "--json").stdout, parse_constant=refuse)

    def fails(self, code, *arguments, **options):
        """The message of a failure, after the checks that hold for every failure."""
        done = self.run(*arguments, **options)
        assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
        lines = [line for line in done.stderr.splitlines() if line.startswith("nearfar: error: ")]
        assert len(lines) == 1, done.stderr
        assert not done.stdout, "nothing on standard output after a failure"
        return lines[0]

    def start(self, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([BINARY, *map(str, arguments)], cwd=self.folder, text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                **options)

    # Moments are told by what a process has done, and lengths by processor time: a busy machine may
    # keep it from running for seconds.

    @staticmethod
    def seconds_of(process):
        """The processor time of a running process."""
        text = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    @staticmethod
    def wait_until(process, holds, what):
        """Until `holds()`, of a process that must not end before."""
        end = time.monotonic() + HUNG
        while not holds():
            assert process.poll() is None, f"ended before {what}: {process.communicate()}"
            assert time.monotonic() < end, f"never {what}"
            time.sleep(0.01)

    def wait_until_busy(self, process, seconds):
        self.wait_until(process, lambda: self.seconds_of(process) >= seconds, "busy")

    def wait_until_blocked(self, process):
        """Until it handles signals and sleeps in a system call."""

        def blocked():
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            field = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            return int(field["SigCgt"], 16) >> signal.SIGTERM - 1 & 1 and "S" in field["State"]

        for _ in range(20):  # and not in passing
            self.wait_until(process, blocked, "blocked")
            time.sleep(0.01)

    def stop(self, process, *signals):
        """What a process says after signals, and the processor time it took to end.

        No other child may be running."""
        before, running = self.seconds_of(process), resource.getrusage(resource.RUSAGE_CHILDREN)
        for number in signals:
            process.send_signal(number)
        out, said = process.communicate(timeout=HUNG)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = sum(ended[:2]) - sum(running[:2])
        return out, said, used - before


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


@pytest.fixture
def tool():
    """Another program, or a skip where the machine has none of that name. Its locale is one that
    every machine has: man and bash complain of others."""

    def find(name):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        return lambda *arguments, **options: subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=HUNG, check=False,
            stdin=subprocess.DEVNULL, **{"env": {**os.environ, "LC_ALL": "C.UTF-8"}, **options})

    return find


@pytest.fixture
def data(cli):
    """x (60, 5) float32, y of 4 classes, and left, right, same (40) beside the program."""
    rng = np.random.default_rng(7)
    arrays = {
        "x": rng.normal(size=(60, 5)).astype(np.float32),
        "y": rng.integers(0, 4, size=60),
        "left": rng.normal(size=(40, 5)).astype(np.float32),
        "right": rng.normal(size=(40, 5)).astype(np.float32),
        "same": rng.integers(0, 2, size=40).astype(np.uint8),
    }
    cli.save(**arrays)
    return arrays


@pytest.fixture(name="exits", scope="session")
def exit_codes():
    return Exit
