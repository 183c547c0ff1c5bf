"""Out of memory: a limit, and every single allocation of a run failing once."""

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess

import numpy as np
import pytest

OK, USAGE, DATA, MEMORY, IO = 0, 2, 3, 5, 6

pytestmark = pytest.mark.skipif(os.environ.get("NEARFAR_SANITIZED") == "1",
                                reason="sanitizers replace malloc")

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>
static long count, fail_at = -1;
static void *(*real)(size_t);
void *malloc(size_t size) {
    if (real == NULL) {
        real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
        const char *text = getenv("FAIL_AT");
        fail_at = text != NULL ? atol(text) : -1;
    }
    if (++count == fail_at) return NULL;
    return real(size);
}
__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("COUNT_TO");
    if (path == NULL) return;
    char text[32];
    int length = 0;
    for (long rest = count; rest > 0; rest /= 10) text[length++] = (char)('0' + rest % 10);
    int out = creat(path, 0600);
    while (length > 0 && write(out, &text[--length], 1) == 1) continue;
    close(out);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text("#include <fcntl.h>\n" + SHIM, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"],
                   cwd=folder, check=True)
    return str(folder / "shim.so")


COMMANDS = [
    ["loss", "x.npy", "--labels", "y.npy", "--grad", "out.npy", "--json"],
    ["loss", "--left", "x.npy", "--right", "x.npy", "--same", "s.npy", "--terms", "out.npy"],
    ["loss", "t.csv", "--reference", "t.csv", "--json"],
    ["eval", "x.npy", "--labels", "y.npy", "--json"],
    ["pairs", "--labels", "y.npy", "-n", "9", "--data", "x.npy", "--left", "out.npy", "--json"],
    ["pairs", "--labels", "y.npy", "--all", "both", "-o", "out.npy"],
    ["distances", "x.npy", "--condensed", "-o", "out.npy", "--json"],
    ["knn", "x.npy", "-k", "2", "-o", "out.npy"],
    ["train", "t.csv", "-o", "out.npy", "--epochs", "1", "--hidden", "3", "--json"],
    ["embed", "m.safetensors", "x.npy", "-o", "out.npy"],
    ["info", "t.csv", "--json"],
    ["info", "m.safetensors", "--json"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: "-".join(c[:2]))
def test_every_allocation_failing_once(cli, shim, command):
    rng = np.random.default_rng(0)
    cli.save(x=rng.normal(size=(12, 3)), y=rng.integers(0, 3, 12), s=rng.integers(0, 2, 12))
    cli.write("t.csv", "a,b,c,label\n" + "".join(
        f"{i},{i * i % 7},{i % 5},{'cat' if i % 3 else 'dog'}\n" for i in range(12)))
    cli.ok("train", "t.csv", "-o", "m.safetensors", "--epochs", "1")
    output = cli.folder / "out.npy"

    def run(**environment):
        output.unlink(missing_ok=True)
        done = cli.run(*command, "--threads", "1",
                       env={**os.environ, "LD_PRELOAD": shim, **environment})
        return done, output.read_bytes() if output.exists() else None

    want, made = run(COUNT_TO=str(cli.folder / "count"))
    assert want.returncode == OK, want.stderr
    count = int((cli.folder / "count").read_text())
    assert count > 15
    refused = 0
    for k in range(1, count + 1):
        done, got = run(FAIL_AT=str(k))
        assert done.returncode in (OK, MEMORY), f"allocation {k}: {done.returncode} {done.stderr}"
        if done.returncode == OK:
            assert (done.stdout, got) == (want.stdout, made), f"allocation {k}"
        else:
            refused += 1
            assert "memory" in done.stderr and not done.stdout
    assert refused > count // 5
    assert not [name for name in cli.names() if name.endswith(".tmp")]


def test_a_limit_is_told_with_what_is_needed(cli):
    cli.save(x=np.zeros((200000, 64)), y=np.zeros(200000, int))
    limit = 60 << 20
    message = cli.fails(MEMORY, "loss", "x.npy", "--labels", "y.npy", "--threads", "1",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert "out of memory" in message and "102400129 bytes" in message


def test_what_no_machine_holds_is_refused_at_once(cli):
    cli.save(x=np.zeros((400000, 1), np.float32), y=np.arange(60) % 3)
    message = cli.fails(MEMORY, "knn", "x.npy", "-k", "399999", "-o", "i.npy")
    assert "the neighbours take 1.3 TB" in message and "smaller k" in message
    message = cli.fails(MEMORY, "knn", "x.npy", "-k", "399999", "-o", "i.npy", "--distances", "d.npy")
    assert "the neighbours take 1.9 TB" in message
    message = cli.fails(MEMORY, "pairs", "--labels", "y.npy", "-n", "1000000000000", "-o",
                        "/dev/null")
    assert "the pairs take 25.0 TB" in message and "-n" in message
    message = cli.fails(IO, "pairs", "--labels", "y.npy", "-n", "1000000000000", "-o", "p.npz")
    assert "free" in message
    assert cli.names() == ["x.npy", "y.npy"]


def enter(folder):
    (folder / "cgroup.procs").write_text(str(os.getpid()))


@pytest.fixture
def group():
    """A control group of 64 MB, where one may be made and nothing can be swapped."""
    if "SwapFree:              0 kB" not in pathlib.Path("/proc/meminfo").read_text():
        pytest.skip("memory may be swapped")
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                        ("/sys/fs/cgroup", "memory.max")):
        folder = pathlib.Path(root) / f"nearfar-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(64 << 20))
            subprocess.run(["true"], check=True, preexec_fn=lambda: enter(folder))
            yield folder
            return
        except (OSError, subprocess.SubprocessError):
            continue
        finally:
            with contextlib.suppress(OSError):  # not empty yet
                folder.rmdir()
    pytest.skip("no control group can be made")


def test_a_control_group_counts(cli, group):
    cli.save(x=np.zeros((10000, 1), np.float32))
    message = cli.fails(MEMORY, "knn", "x.npy", "-k", "1000", "-o", "i.npy", "--threads", "1",
                        preexec_fn=lambda: enter(group))
    assert "take 80.0 MB, and this process may use 67.1 MB" in message
