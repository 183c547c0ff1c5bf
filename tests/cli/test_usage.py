"""Options, values and messages: what is refused, by which code, and in which words."""

import re

import pytest

USAGE, IO = 2, 6
COMMANDS = ["train", "embed", "eval", "loss", "pairs", "distances", "knn", "info"]


# ---- where to begin -----------------------------------------------------------------------------


def test_bare_program_says_what_to_do_next(cli):
    done = cli.ok()
    examples = [line for line in done.stdout.splitlines() if line.startswith("  nearfar ")]
    assert len(examples) == 3
    assert not done.stderr


def test_the_three_examples_run_as_printed(cli):
    lines = [line.split("#")[0].split() for line in cli.ok().stdout.splitlines()
             if line.startswith("  nearfar ")]
    lines[0] += ["--epochs", "2"]
    for line in lines:
        cli.ok(*line[1:])


def test_version(cli):
    assert re.fullmatch(r"nearfar \d+\.\d+\.\d+\n", cli.ok("--version").stdout)


@pytest.mark.parametrize("command", COMMANDS + ["completion", "help"])
def test_help_begins_with_examples(cli, command):
    done = cli.ok(command, "--help")
    text = done.stdout
    assert not done.stderr
    assert text.index("Examples") < text.index("Usage") < text.index("General options")
    assert f"nearfar {command}" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert not re.search(r"[ \t]$", text, re.M)
    assert cli.ok("help", command).stdout == text


@pytest.mark.parametrize("command", ["train", "loss"])
def test_help_shows_formulas_of_every_preset(cli, command):
    text = cli.ok(command, "--help").stdout
    for preset in ("weston", "drlim", "hinge", "pml", "sbert"):
        assert re.search(rf"^  {preset} +\S", text, re.M), preset
    assert "max(0, margin - t)^exponent" in text
    assert "same label" in text


def test_help_shows_the_defaults_of_the_library(cli, data):
    text = " ".join(cli.ok("train", "--help").stdout.split())
    config = cli.json("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors")["config"]
    for option in ("batch_size", "epochs", "lr", "sampling", "dim", "optimizer", "momentum",
                   "weight_decay", "schedule", "valid_fraction", "patience", "per_class", "seed",
                   "activation", "positive_fraction", "memory_bank"):
        start = text.index("--" + option.replace("_", "-") + " ", text.index("Data options"))
        value = config[option]
        value = f"{value:g}" if isinstance(value, float) else value
        assert f"(default {value})" in text[start:start + 160], option
    assert f"pos_weight {config['loss']['pos_weight']:g}" in text
    assert config["loss"]["reduction"] in text


# ---- near words ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, expected", [
    (["trian"], "nearfar train"),
    (["evaluate"], "nearfar eval"),
    (["loss", "x.npy", "--lables", "y"], "--labels"),
    (["train", "x.npy", "--epoch", "3"], "--epochs"),
    (["train", "x.npy", "--batchsize", "3"], "--batch-size"),
    (["distances", "x.npy", "--metric", "euclidian"], "euclidean"),
    (["distances", "x.npy", "--metric", "cosin"], "cosine"),
    (["loss", "x.npy", "--loss", "westen"], "weston"),
    (["loss", "x.npy", "--reduction", "mean-side"], "mean-sides"),
    (["pairs", "--labels", "y", "--all", "positives"], "positive"),
])
def test_near_words_are_suggested(cli, arguments, expected):
    message = cli.fails(USAGE, *arguments)
    assert "did you mean" in message
    assert expected in message.split("did you mean")[1]


def test_nothing_is_suggested_for_a_word_far_from_all(cli):
    assert "did you mean" not in cli.fails(USAGE, "xyzzyq")
    assert "did you mean" not in cli.fails(USAGE, "loss", "--xyzzyq")


def test_an_option_of_another_subcommand_is_named_as_such(cli):
    assert "belongs to loss" in cli.fails(USAGE, "eval", "x.npy", "--grad", "g.npy")
    assert "train" in cli.fails(USAGE, "--epochs", "3", "train")


# ---- values -------------------------------------------------------------------------------------

BAD_VALUES = [
    ("pairs", "-n", ["1e9", "-1", "0", "0x10", "99999999999999999999", " 5", "5 ", "+5", "",
                     "1" * 100000]),
    ("pairs", "--positive-fraction", ["1.5", "-0.1", "half"]),
    ("train", "--lr", ["nan", "inf", "1e-400", "1e400", "0x1p-3", "1,5", "0", "", ".", "1e"]),
    ("train", "--hidden", ["256,,128", "256,", "0", ",".join("1" * 17)]),
    ("train", "--batch-size", ["most", "1"]),
    ("train", "--epochs", ["0"]),
    ("train", "--seed", ["18446744073709551616", "-1"]),
    ("train", "--threads", ["0", "1025"]),
    ("loss", "--exponent", ["9", "0.5"]),
    ("loss", "--margin", ["one"]),
    ("eval", "-k", ["1,x", "1,,2"]),
    ("knn", "-k", ["0"]),
]


@pytest.mark.parametrize("command, option, value", [
    (command, option, value) for command, option, values in BAD_VALUES for value in values])
def test_bad_values_name_option_value_and_limit(cli, command, option, value):
    message = cli.fails(USAGE, command, option, value)
    assert message.startswith(f"nearfar: error: {option} ")
    assert len(message) < 400, "a long argument is cut"
    assert value[:50] in message
    assert re.search("must be|at most|: give ", message)


def test_a_whole_number_written_with_an_exponent_gets_a_hint(cli):
    assert "write 1000000000" in cli.fails(USAGE, "pairs", "--labels", "y", "-n", "1e9")


@pytest.mark.parametrize("exponent", ["1.25", "2.3"])
def test_exponents_are_multiples_of_a_half(cli, data, exponent):
    message = cli.fails(USAGE, "loss", "x.npy", "--labels", "y.npy", "--exponent", exponent)
    assert "multiple of 1/2" in message


def test_control_characters_do_not_reach_the_terminal(cli):
    message = cli.fails(USAGE, "loss", "--\x1b[31mred")
    assert "\x1b" not in message


@pytest.mark.parametrize("arguments", [
    ["eval", "x.npy", "-q", "-q"],
    ["eval", "x.npy", "--json", "--json"],
    ["eval", "x.npy", "--labels", "a", "--labels", "b"],
    ["eval", "x.npy", "-l", "a", "--labels=b"],
])
def test_repeated_options_are_refused(cli, arguments):
    assert "twice" in cli.fails(USAGE, *arguments)


def test_a_forgotten_value_is_not_taken_from_the_next_option(cli):
    message = cli.fails(USAGE, "eval", "x.npy", "--labels", "--json")
    assert "--labels needs a value" in message
    assert "needs a value" in cli.fails(USAGE, "eval", "x.npy", "--labels")


def test_a_flag_takes_no_value(cli):
    assert "takes no value" in cli.fails(USAGE, "eval", "x.npy", "--json=yes")


def test_every_way_to_write_a_value(cli, data):
    wanted = cli.json("knn", "x.npy", "--neighbours", "3", "--output", "i.npy")
    first = cli.load("i.npy")
    for way in (["-k", "3"], ["-k3"], ["--neighbours=3"]):
        assert cli.json("knn", "x.npy", *way, "-o", "i.npy") == wanted
        assert (cli.load("i.npy") == first).all()
    cli.ok("knn", "-qk", "3", "-oi.npy", "--", "x.npy")


def test_general_options_may_come_first(cli, data):
    assert not cli.ok("-q", "knn", "x.npy", "-k", "3", "-o", "i.npy").stderr


def test_quiet_and_verbose(cli, data):
    usual = cli.ok("knn", "x.npy", "-k", "3", "-o", "i.npy").stderr
    assert usual.startswith("nearfar: wrote i.npy")
    assert not cli.ok("knn", "x.npy", "-k", "3", "-o", "i.npy", "-q").stderr
    assert len(cli.ok("knn", "x.npy", "-k", "3", "-o", "i.npy", "-v").stderr) > len(usual)
    assert "exclude" in cli.fails(USAGE, "knn", "x.npy", "-q", "-v")
    # An error is told even then.
    assert cli.fails(IO, "info", "missing.npy", "-q")


def test_too_many_arguments(cli):
    assert "too many" in cli.fails(USAGE, "info", "a", "b")
    assert "empty" in cli.fails(USAGE, "info", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_arguments_say_what_is_missing(cli, command):
    assert f"{command} needs" in cli.fails(USAGE, command)


@pytest.mark.parametrize("arguments", [
    ["embed", "m.safetensors", "x.npy"],
    ["distances", "x.npy"],
    ["knn", "x.npy"],
    ["train", "x.npy", "--labels", "y.npy"],
    ["pairs", "--labels", "y.npy", "-n", "5"],
])
def test_a_missing_output_is_told_before_any_work(cli, arguments):
    assert "-o " in cli.fails(USAGE, *arguments)


# ---- environment --------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    ("NF_NUM_THREADS", "0"), ("NF_NUM_THREADS", "-1"), ("NF_NUM_THREADS", "abc"),
    ("NF_NUM_THREADS", "1000000000"), ("NF_ISA", "mmx"),
])
def test_bad_environment_is_named(cli, data, name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    message = cli.fails(USAGE, "info", "x.npy")
    assert name in message and value in message


# ---- man page and completion --------------------------------------------------------------------


def options_of(cli, command):
    text = cli.ok(command, "--help").stdout
    return re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_and_completion_hold_every_option(cli, command):
    page = cli.ok("--print-man").stdout
    shells = [cli.ok("completion", shell).stdout for shell in ("bash", "zsh")]
    assert page.startswith(".TH NEARFAR 1")
    assert f'.SS "nearfar {command}"' in page
    options = options_of(cli, command)
    assert "--help" in options
    for option in options:
        assert option.replace("-", "\\-") in page, option
        for script in shells:
            assert option in script, option


def test_manual_renders_without_complaint(cli, tool):
    man = tool("man")
    cli.write("nearfar.1", cli.ok("--print-man").stdout)
    done = man("--warnings", "-l", "nearfar.1", cwd=cli.folder)
    assert done.returncode == 0 and not done.stderr
    assert "NEARFAR(1)" in done.stdout and "--positive-fraction" in done.stdout


def test_bash_completion(cli, tool):
    bash = tool("bash")
    cli.write("nearfar.bash", cli.ok("completion", "bash").stdout)

    def complete(*words):
        listed = " ".join(f"'{w}'" for w in words)
        done = bash("--norc", "-c", f"source ./nearfar.bash; COMP_WORDS=({listed}); "
                    f"COMP_CWORD={len(words) - 1}; _nearfar; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                    cwd=cli.folder)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.split()

    assert complete("nearfar", "tr") == ["train"]
    assert complete("nearfar", "loss", "--pos-m") == ["--pos-margin", "--pos-metric"]
    assert complete("nearfar", "loss", "--metric", "co") == ["cosine"]
    assert complete("nearfar", "train", "digits-te") == ["digits-test"]
    assert "nearfar.bash" in complete("nearfar", "train", "--labels", "near")
    assert complete("nearfar", "completion", "z") == ["zsh"]


def test_zsh_completion(cli, tool):
    script = cli.ok("completion", "zsh").stdout
    assert script.startswith("#compdef nearfar\n")
    assert "(euclidean sqeuclidean cosine dot cityblock)" in script
    cli.write("_nearfar", script)
    done = tool("zsh")("-n", "_nearfar", cwd=cli.folder)
    assert done.returncode == 0 and not done.stderr


def test_completion_needs_a_shell(cli):
    assert "bash or zsh" in cli.fails(USAGE, "completion")
    assert "fish" in cli.fails(USAGE, "completion", "fish")
