"""A peer's process, seen from the runner. It is stopped whenever it is not its turn, so that
threads that spin while they wait take no time from the others."""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
START_LIMIT = 120
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                     "NUMEXPR_NUM_THREADS")


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """No answer, or an answer that says why there is no result: args are status and detail."""


def _environment(threads, scratch):
    return {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
            "PYTHONDONTWRITEBYTECODE": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torchinductor")}


def _before_start(cores):
    """In the child: the cores, and an end with the runner's, however that comes."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, cores)


class Child:
    def __init__(self, peer, python, threads, scratch, log):
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), peer.driver, peer.name, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=HERE,
            env=_environment(threads, scratch), start_new_session=True,
            preexec_fn=lambda: _before_start(cores))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._unread = b""
        self.versions = self._answer(START_LIMIT)["versions"]
        self._signal(signal.SIGSTOP)

    def ask(self, action, limit, **arguments):
        """The answer to a command, within limit seconds."""
        line = json.dumps({"do": action, **arguments}) + "\n"
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        answer = self._answer(limit)
        self._signal(signal.SIGSTOP)
        if not answer.pop("ok"):
            raise Failure(answer["status"], answer["detail"])
        return answer

    def close(self):
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def alive(self):
        return self._process.poll() is None

    def _answer(self, limit):
        deadline = time.monotonic() + limit
        while b"\n" not in self._unread:
            if not self._selector.select(max(0, deadline - time.monotonic())):
                self.close()
                raise Failure("time limit", f"no answer within {limit:g} s")
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise self._death()
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def _death(self):
        code = self._process.wait()
        return Failure("failed", f"the process ended with {code}")

    def _signal(self, number):
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass


class Children:
    """Processes of the peers at one number of threads, started when first needed."""

    def __init__(self, peers, python_of, threads, scratch):
        self._peers, self._python_of = peers, python_of
        self._threads, self._scratch = threads, scratch
        self._log = open(scratch / f"peers-{threads}.log", "w", encoding="utf-8")
        self._children = {}

    def get(self, name):
        child = self._children.get(name)
        if child is None or not child.alive:
            peer = self._peers[name]
            python = self._python_of(peer)
            if not Path(python).exists():
                raise Failure("not installed", f"no environment '{peer.environment}'")
            print(f"  starting {name}", file=sys.stderr)
            child = Child(peer, python, self._threads, self._scratch, self._log)
            self._children[name] = child
        return child

    def drop(self, names):
        for name in names:
            if child := self._children.pop(name, None):
                child.close()

    def close(self):
        self.drop(list(self._children))
        self._log.close()
