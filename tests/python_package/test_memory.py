"""Memory that runs out: MemoryError, inputs and package as before."""

import subprocess
import sys

import pytest

PYTHON_FAILS = """
import sys
import _testcapi
import numpy as np, nearfar
x, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
collections = [[label, 7] for label in labels.tolist()]
loss = nearfar.ContrastiveLoss("hinge", margin=2)
pairs, same = nearfar.sample_pairs(labels, 10), labels == 1
model = nearfar.Model(3, 2)
data = model.to_bytes()
calls = {
    "loss": lambda: nearfar.loss(x, labels),
    "options": lambda: nearfar.loss(x, labels, preset="pml", margin=2),
    "call": lambda: loss(x, labels),
    "pairs": lambda: loss.pairs(x, pairs),
    "rows": lambda: loss.rows(x, x, same),
    "reference": lambda: loss.reference(x, labels, x, labels),
    "full": lambda: nearfar.pairwise_distances(x),
    "pdist": lambda: nearfar.pdist(x),
    "list": lambda: nearfar.pair_distances(x, labels, labels),
    "knn": lambda: nearfar.knn(x, k=2),
    "partition": lambda: nearfar.partition(labels),
    "classes": lambda: nearfar.class_indices(labels),
    "indices": lambda: nearfar.pair_indices(labels),
    "sample": lambda: nearfar.sample_pairs(labels, 10),
    "evaluate": lambda: nearfar.evaluate(x, labels),
    "evaluate sets": lambda: nearfar.evaluate(x, label_sets=collections),
    "model": lambda: nearfar.Model(3, 2),
    "parse": lambda: nearfar.Model.from_bytes(data),
    "embed": lambda: model.embed(x),
    "weights": lambda: (model.weights, model.biases, model.mean, model.options, model.metadata),
    "converted": lambda: nearfar.loss(x[::-1], labels),
}
call = calls[sys.argv[1]]
call()
failed = 0
for k in range(400):
    _testcapi.set_nomemory(k, k + 1)
    try:
        call()
    except MemoryError:
        failed += 1
    except Exception as error:  # NumPy turns a few failures into others
        if not isinstance(error.__context__, MemoryError) and "memory" not in str(error).lower():
            _testcapi.remove_mem_hooks()
            raise
        failed += 1
    finally:
        _testcapi.remove_mem_hooks()
call()
print(failed)
"""

ENGINE_FAILS = """
import resource
import numpy as np, nearfar
x = np.ones((400000, 64), np.float32)
x[:, 0] = np.arange(400000)
labels = np.arange(400000) % 10
nearfar.loss(x[:100], labels[:100])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
limit = used + x.nbytes + (20 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    nearfar.loss(x, labels)
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(nearfar.loss(x[:100], labels[:100]).value)
"""

CALLS = ["loss", "options", "call", "pairs", "rows", "reference", "full", "pdist", "list", "knn",
         "partition", "classes", "indices", "sample", "evaluate", "evaluate sets", "model", "parse",
         "embed", "weights", "converted"]


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("call", CALLS)
def test_every_failed_allocation_of_python(call):
    pytest.importorskip("_testcapi")
    (failed,) = run(PYTHON_FAILS, call)
    assert int(failed) > 0


def test_a_failed_allocation_of_the_engine():
    message, value = run(ENGINE_FAILS)
    assert "out of memory" in message and "bytes" in message
    assert float(value) > 0
