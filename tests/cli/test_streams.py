"""Files, pipes and signals: outputs checked first, closed and full streams, interruption."""

import os
import pty
import select
import signal
import subprocess

import numpy as np
import pytest

USAGE, DATA, IO = 2, 3, 6
root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


# ---- outputs are checked before any work --------------------------------------------------------

COMMANDS = [
    ["distances", "x.npy", "-o"],
    ["knn", "x.npy", "-k", "2", "-o"],
    ["pairs", "--labels", "y.npy", "--all", "both", "-o"],
    ["loss", "x.npy", "--labels", "y.npy", "--grad"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_folder_is_found_before_the_inputs_are_read(cli, command):
    assert "'no/such/folder'" in cli.fails(IO, *command, "no/such/folder/out.npy")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_may_not_be_an_input(cli, data, command):
    before = cli.bytes("x.npy"), cli.bytes("y.npy")
    for name in ("x.npy", "./x.npy") if "x.npy" in command else ("y.npy", "./y.npy"):
        assert "also" in cli.fails(USAGE, *command, name)
    os.link(cli.folder / "x.npy", cli.folder / "hard.npy")
    os.symlink(cli.folder / "y.npy", cli.folder / "soft.npy")
    if "x.npy" in command:
        cli.fails(USAGE, *command, "hard.npy")
    if "y.npy" in command:
        cli.fails(USAGE, *command, "soft.npy")
    assert (cli.bytes("x.npy"), cli.bytes("y.npy")) == before


def test_an_output_may_not_be_the_archive_of_an_input(cli, data):
    np.savez(cli.folder / "z.npz", x=data["x"], y=data["y"])
    assert "also" in cli.fails(USAGE, "pairs", "--labels", "z.npz:y", "-n", "5", "-o", "z.npz")


def test_two_outputs_may_not_be_one_file(cli, data):
    for name in ("i.npy", "./i.npy", f"{cli.folder}/i.npy"):
        assert "two outputs" in cli.fails(USAGE, "knn", "x.npy", "-k", "2", "-o", "i.npy",
                                          "--distances", name)


def test_a_folder_is_no_output(cli, data):
    (cli.folder / "sub.npy").mkdir()
    assert "folder" in cli.fails(IO, "knn", "x.npy", "-k", "2", "-o", "sub.npy")
    assert "folder" in cli.fails(IO, "knn", "x.npy", "-k", "2", "-o", "x.npy/out.npy").lower()


@root
def test_a_folder_without_leave_to_write(cli, data):
    (cli.folder / "locked").mkdir(mode=0o555)
    assert "cannot be written" in cli.fails(IO, "knn", "x.npy", "-k", "2", "-o", "locked/i.npy")


def test_unreadable_inputs(cli, data):
    assert "missing.npy" in cli.fails(IO, "loss", "missing.npy", "--labels", "y.npy")
    assert "missing.npy" in cli.fails(IO, "loss", "x.npy", "--labels", "missing.npy")
    assert "missing" in cli.fails(IO, "embed", "missing.safetensors", "x.npy", "-o", "e.npy")
    cli.fails(IO, "info", ".")


def test_an_old_file_survives_a_failed_run(cli, data):
    cli.write("i.npy", "old")
    cli.save(bad=np.full((4, 4), np.nan))
    cli.fails(DATA, "distances", "bad.npy", "-o", "i.npy")
    assert cli.bytes("i.npy") == b"old"
    assert not [name for name in cli.names() if "tmp" in name]


# ---- standard streams ---------------------------------------------------------------------------


def test_output_to_standard_output(cli, data):
    cli.ok("distances", "x.npy", "-o", "d.npy")
    for name in ("-", "/dev/stdout"):
        done = cli.run("distances", "x.npy", "-o", name, text=False)
        assert done.returncode == 0 and done.stdout == cli.bytes("d.npy")
    with open(cli.folder / "e.npy", "wb") as file:
        assert cli.run("distances", "x.npy", "-o", "-", stdout=file).returncode == 0
    assert cli.bytes("e.npy") == cli.bytes("d.npy")
    assert "--json" in cli.fails(USAGE, "distances", "x.npy", "-o", "-", "--json")


def test_results_give_way_to_data_on_standard_output(cli, data):
    cli.ok("loss", "x.npy", "--labels", "y.npy", "--grad", "g.npy")
    done = cli.run("loss", "x.npy", "--labels", "y.npy", "--grad", "-", text=False)
    assert done.stdout == cli.bytes("g.npy") and b"positive pairs" in done.stderr


@pytest.mark.parametrize("command", [
    ["--help"], ["--version"], [], ["train", "--help"], ["info", "x.npy"], ["--print-man"],
    ["loss", "x.npy", "--labels", "y.npy", "--json"], ["completion", "bash"],
    ["distances", "x.npy", "-o", "-"],
])
def test_a_full_disk_behind_standard_output(cli, data, command):
    with open("/dev/full", "wb") as full:
        done = cli.run(*command, stdout=full)
    assert done.returncode == IO
    assert "nearfar: error: " in done.stderr and "No space left" in done.stderr


@pytest.mark.parametrize("command", [
    ["loss", "x.npy", "--labels", "y.npy"], ["--print-man"], ["distances", "x.npy", "-o", "-"]])
def test_a_closed_pipe_behind_standard_output(cli, data, command):
    reader, writer = os.pipe()
    os.close(reader)
    done = cli.run(*command, stdout=writer)
    os.close(writer)
    assert done.returncode == IO and "Broken pipe" in done.stderr


def shell(cli, line):
    return subprocess.run(["sh", "-c", line.replace("nearfar", cli.binary)], cwd=cli.folder,
                          capture_output=True, text=True, timeout=120, check=False)


def test_closed_standard_streams_never_reach_a_data_file(cli, data):
    cli.ok("distances", "x.npy", "-o", "want.npy")
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"):
        done = shell(cli, f"nearfar distances x.npy -o d.npy {closed}")
        assert done.returncode == 0, closed
        assert cli.bytes("d.npy") == cli.bytes("want.npy"), closed
    done = shell(cli, "nearfar loss x.npy --labels y.npy --grad g.npy >&-")
    assert done.returncode == IO and "standard output" in done.stderr
    assert cli.load("g.npy").shape == (60, 5)


def test_quiet_json_leaves_standard_error_empty(cli, data):
    done = cli.ok("loss", "x.npy", "--labels", "y.npy", "--json", "-q", "--metric", "cityblock")
    assert not done.stderr and done.stdout.startswith("{") and done.stdout.endswith("}\n")


# ---- interruption -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_files(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("large")
    np.save(folder / "big.npy", rng.normal(size=(60000, 64)).astype(np.float32))
    np.save(folder / "labels.npy", rng.integers(0, 1000, 60000))
    return folder


@pytest.fixture
def large(cli, large_files):
    """Rows enough for seconds of work of one thread, on however fast a machine."""
    for name in ("big.npy", "labels.npy"):
        os.symlink(large_files / name, cli.folder / name)


# One thread: with many, the work would be over before a signal comes.
LONG = [
    ["loss", "big.npy", "--labels", "labels.npy", "--margin", "100", "--grad", "out.npy",
     "--threads", "1"],
    ["eval", "big.npy", "--labels", "labels.npy", "--threads", "1"],
    ["knn", "big.npy", "-k", "5", "--metric", "cityblock", "-o", "out.npy", "--threads", "1"],
    ["distances", "big.npy", "-o", "/dev/null", "--threads", "1"],
    ["distances", "big.npy", "-o", "out.npy", "--threads", "1"],
    ["pairs", "--labels", "labels.npy", "--all", "both", "-o", "/dev/null", "--threads", "1"],
    ["pairs", "--labels", "labels.npy", "--data", "big.npy", "--all", "negative", "--left",
     "/dev/null", "--threads", "1"],
]
ANSWER = 10 if "NEARFAR_SANITIZED" in os.environ else 0.5  # seconds of processor time
signals = pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@signals
@pytest.mark.parametrize("command", LONG, ids=lambda c: c[0])
def test_a_signal_ends_long_work_quickly(cli, large, command, number, code):
    process = cli.start(*command)
    cli.wait_until_busy(process, 0.3)
    _, said, used = cli.stop(process, number)
    assert process.returncode == code, said
    assert used < ANSWER
    assert "interrupted" in said
    assert cli.names() == ["big.npy", "labels.npy"]


def test_two_signals_at_once_leave_no_file(cli, large):
    cli.write("out.npy", "old")
    process = cli.start("distances", "big.npy", "-o", "out.npy", "--threads", "1")
    cli.wait_until(process, lambda: any(".tmp" in name for name in cli.names()), "writing")
    # Stopped, so that the second is there before the first is answered.
    _, said, _ = cli.stop(process, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT)
    assert process.returncode in (130, 143) and not said
    assert cli.names() == ["big.npy", "labels.npy", "out.npy"] and cli.bytes("out.npy") == b"old"


@signals
def test_a_signal_ends_a_blocked_read(cli, number, code):
    os.mkfifo(cli.folder / "pipe")
    reader, writer = os.pipe()
    for name in ("pipe", "-"):
        process = cli.start("info", name, stdin=reader)
        cli.wait_until_blocked(process)
        cli.stop(process, number)
        assert process.returncode == code
    os.close(reader)
    os.close(writer)


# ---- terminals ----------------------------------------------------------------------------------


def on_terminal(cli, *arguments, wanted=None, **environment):
    """What is drawn on a terminal as standard error, until `wanted` is seen, or for a second of
    work."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment}
    process = cli.start(*arguments, stderr=theirs, env=env)
    os.close(theirs)
    drawn = b""

    def seen():
        nonlocal drawn
        if select.select([ours], [], [], 0)[0]:
            drawn += os.read(ours, 65536)
        if wanted is not None:
            return wanted in drawn.decode(errors="replace")
        return cli.seconds_of(process) >= 1

    cli.wait_until(process, seen, "drawn")
    cli.stop(process, signal.SIGINT)
    os.close(ours)
    return drawn.decode()


def test_a_bar_on_a_terminal_and_nowhere_else(cli, large):
    command = ["distances", "big.npy", "-o", "/dev/null", "--threads", "1"]
    drawn = on_terminal(cli, *command, wanted=" s left")
    assert "\r" in drawn and "%" in drawn and " s left" in drawn and "\u2500" in drawn
    assert "%" not in on_terminal(cli, *command, "-q")
    assert "%" not in on_terminal(cli, *command, TERM="dumb")
    process = cli.start(*command)
    cli.wait_until_busy(process, 1)
    _, said, _ = cli.stop(process, signal.SIGINT)
    assert "\r" not in said and "%" not in said


def test_ascii_where_the_locale_is_not_utf8(cli, large):
    drawn = on_terminal(cli, "distances", "big.npy", "-o", "/dev/null", "--threads", "1", wanted="%",
                        LC_ALL="C")
    assert drawn.isascii() and "---" in drawn


def test_nothing_else_is_left_in_the_folder(cli, data):
    cli.ok("knn", "x.npy", "-k", "2", "-o", "i.npy")
    assert cli.names() == sorted([f"{name}.npy" for name in data] + ["i.npy"])
