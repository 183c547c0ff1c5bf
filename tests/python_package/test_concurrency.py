"""Threads, fork, signals and memory."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nearfar
from package_support import rows


def everything(x, labels):
    """One result of each engine entry, as bytes."""
    model = nearfar.Model(x.shape[1], 4, seed=2)
    index, distance = nearfar.knn(x, k=3)
    pairs = nearfar.sample_pairs(labels, 500, seed=1)
    loss = nearfar.ContrastiveLoss()
    parts = [nearfar.pairwise_distances(x), nearfar.pdist(x, "cosine"), index, distance,
             nearfar.loss(x, labels).grad, loss.pairs(x, pairs).grad, model.embed(x),
             *nearfar.pair_indices(labels)]
    return b"".join(part.tobytes() for part in parts) + repr(nearfar.evaluate(x, labels)).encode()


@pytest.fixture
def data(rng):
    return rows(rng, 400, 16, "f4")


def test_many_threads_get_the_same_bits(data):
    expected, wrong = everything(*data), []

    def work():
        for _ in range(5):
            if everything(*data) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_number_of_threads_changes_no_bit(data):
    before = nearfar.get_num_threads()
    results = set()
    try:
        for threads in (1, 2, 3, 7):
            nearfar.set_num_threads(threads)
            assert nearfar.get_num_threads() == threads
            results.add(everything(*data))
    finally:
        nearfar.set_num_threads(0)
    assert len(results) == 1 and nearfar.get_num_threads() == before
    for bad in (-1, 1025, 2**40):
        with pytest.raises(ValueError, match="threads is"):
            nearfar.set_num_threads(bad)
    with pytest.raises(TypeError, match="threads"):
        nearfar.set_num_threads(1.0)


def test_other_threads_run_meanwhile():
    """The GIL is not held while the engine works."""
    loss, ticks, done = nearfar.ContrastiveLoss(margin=100, stats=True), [], threading.Event()

    def timed(rows):
        x = np.random.default_rng(0).normal(size=(rows, 64)).astype("f4")
        labels = np.arange(rows) % 10
        start = time.perf_counter()
        loss(x, labels)
        return start, time.perf_counter()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    time.sleep(0.05)
    for rows in (6000, 12000, 24000, 48000, 96000, 192000):  # until the call is long enough to tell
        start, end = timed(rows)
        during = [moment for moment in ticks if start < moment < end]
        if end - start > 0.15 and len(during) >= 5:  # a busy machine may keep the other from running
            break
    done.set()
    thread.join()
    assert end - start > 0.15
    assert len(during) >= 5


def test_arrays_that_another_thread_changes():
    """Torn data may give any number or an error, never a crash."""
    x = np.random.default_rng(0).normal(size=(200, 8))
    labels, done = np.arange(200) % 5, threading.Event()

    def change():
        k = 0
        while not done.is_set():
            x[k % 200] = k
            k += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            nearfar.loss(x, labels)
            nearfar.knn(x, k=2)
    finally:
        done.set()
        thread.join()


def test_the_buffer_is_held_during_a_call(data):
    x, labels = data
    raw = bytearray(x.tobytes())
    view = memoryview(raw).cast("f", x.shape)
    caught, started = [], threading.Event()

    def work():
        started.set()
        for _ in range(50):
            nearfar.loss(view, labels)

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    for _ in range(50):
        try:
            raw.append(0)
        except BufferError:
            caught.append(1)
    thread.join()
    assert len(caught) == 50  # the memoryview itself forbids it; nothing was read after a resize


# ---- fork ---------------------------------------------------------------------------------------


def child_says(write, work):
    try:
        os.write(write, b"ok" if work() else b"no")
    finally:
        os._exit(0)


def wait_for(pid):
    """The end of a child, which hangs if it takes much longer than a busy machine explains."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hung")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_children_of_a_fork_work(data):
    expected = everything(*data)
    for _ in range(20):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            child_says(write, lambda: everything(*data) == expected)
        os.close(write)
        wait_for(pid)
        assert os.read(read, 10) == b"ok"
        os.close(read)
    assert everything(*data) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_another_thread_is_in_a_call():
    x = np.random.default_rng(0).normal(size=(3000, 32)).astype("f4")
    labels, done = np.arange(3000) % 10, threading.Event()
    small = x[:300].copy(), labels[:300].copy()
    expected = everything(*small)

    def work():
        while not done.is_set():
            nearfar.loss(x, labels, margin=100)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            time.sleep(0.01)
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                child_says(write, lambda: everything(*small) == expected)
            os.close(write)
            wait_for(pid)
            assert os.read(read, 10) == b"ok"
            os.close(read)
    finally:
        done.set()
        thread.join()


# ---- signals ------------------------------------------------------------------------------------

INTERRUPTED = """
import signal, sys, time, threading
import numpy as np, nearfar
nearfar.set_num_threads(2)  # of many, calls would end before they are interrupted
x = np.random.default_rng(0).normal(size=(60000, 64)).astype("f4")
labels = np.arange(60000) % 10
calls = {
    "loss": lambda: nearfar.loss(x, labels, margin=100, metric="cityblock"),
    "distances": lambda: nearfar.knn(x, k=5, metric="cityblock"),
    "evaluate": lambda: nearfar.evaluate(x, labels),
    "train": lambda: nearfar.Trainer(epochs=10**6, patience=0).fit(x, labels),
}
for delay in (0.002, 0.01, 0.02, 0.03, 0.1, 0.3, 0.5):
    sent = []
    def interrupt():
        time.sleep(delay)
        sent.append(time.process_time())  # a busy machine may keep the process from running
        signal.raise_signal(signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        calls[sys.argv[1]]()
    except KeyboardInterrupt:
        print((time.process_time() - sent[0]) / 2)  # of two threads
    else:
        sys.exit("the call ended before it was interrupted")
    thread.join()
print(nearfar.loss(x[:100], labels[:100]).value)
"""


@pytest.mark.parametrize("call", ["loss", "distances", "evaluate", "train"])
def test_ctrl_c_is_answered(call):
    run = subprocess.run([sys.executable, "-c", INTERRUPTED, call], capture_output=True, text=True,
                         timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    *delays, value = map(float, run.stdout.split())
    assert len(delays) == 7 and max(delays) < 0.2, delays
    assert np.isfinite(value)


def test_a_handler_s_own_exception_comes_through():
    class Stop(Exception):
        pass

    def handler(number, frame):
        raise Stop("enough")

    old = signal.signal(signal.SIGALRM, handler)
    x = np.random.default_rng(0).normal(size=(40000, 32)).astype("f4")
    nearfar.set_num_threads(1)  # seconds, on whatever machine
    try:
        with pytest.raises(Stop, match="enough"):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            nearfar.evaluate(x, np.arange(40000) % 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        nearfar.set_num_threads(0)


def test_a_handler_that_returns_changes_nothing(data):
    old = signal.signal(signal.SIGALRM, lambda number, frame: None)
    x = np.random.default_rng(0).normal(size=(6000, 64)).astype("f4")
    labels = np.arange(6000) % 10
    expected = nearfar.loss(x, labels, margin=100)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        result = nearfar.loss(x, labels, margin=100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert result.value == expected.value and np.array_equal(result.grad, expected.grad)


# ---- references ---------------------------------------------------------------------------------


def good_and_bad(x, labels):
    loss = nearfar.ContrastiveLoss("hinge", margin=2)
    loss(x, labels)
    loss.pairs(x, nearfar.sample_pairs(labels, 10))
    loss.rows(x, x[::-1], labels > 1)
    loss.reference(x, labels, x[::2], labels[::2])
    nearfar.knn(x, k=2)
    nearfar.evaluate(x, labels)
    nearfar.class_indices(labels)
    nearfar.partition(["a", "b"])
    nearfar.pair_indices(labels)
    nearfar.Model(3).embed(np.ones((2, 3)))
    for call in (lambda: loss(x, labels[:-1]), lambda: loss(x, labels, foo=1),
                 lambda: nearfar.ContrastiveLoss(metric="no"), lambda: nearfar.pdist(x * np.nan),
                 lambda: nearfar.knn(x, k=10**6), lambda: loss.rows(x, x, labels),
                 lambda: loss.pairs(x, ([0], [0], [1])), lambda: nearfar.Model(0),
                 lambda: nearfar.Model.load("/nowhere"), lambda: nearfar.sample_pairs([0, 1], 3)):
        try:
            call()
        except (ValueError, TypeError, OSError):
            continue
        raise AssertionError("no error")


def test_no_reference_is_lost_or_kept(data):
    x, labels = data[0][:50].copy(), data[1][:50].copy()
    for _ in range(30):  # caches fill
        good_and_bad(x, labels)
    gc.collect()
    before, blocks = (sys.getrefcount(x), sys.getrefcount(labels)), sys.getallocatedblocks()
    for _ in range(1000):
        good_and_bad(x, labels)
    gc.collect()
    assert (sys.getrefcount(x), sys.getrefcount(labels)) == before
    assert sys.getallocatedblocks() - blocks < 1000  # less than one a round
