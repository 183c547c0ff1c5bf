# Thin front of the CMake build: each target installs what is missing, builds and runs.
#   make help     lists the targets

BUILD      ?= build
BUILD_ASAN ?= $(BUILD)-asan
PREFIX     ?= /usr/local
CC         ?= cc
VENV       := .venv
PYTHON     := $(VENV)/bin/python
REQUIRES   := tests/python/requirements.txt
PACKAGE_VENV := .venv-package
FRAMEWORKS := torch tensorflow jax
BENCH_VENV := .venv-bench

CONFIGURE := cmake -S . -G Ninja -DNF_WERROR=ON
CTEST     := ctest --output-on-failure --no-tests=error

# Suites find the program and the library here.
export NEARFAR_BIN := $(abspath $(BUILD))/cli/nearfar
export NEARFAR_LIB := $(abspath $(BUILD))/src/libnearfar.so

.DEFAULT_GOAL := all
.PHONY: all demo bench bench-large bench-setup bench-peers bench-report test check checks lint test-c test-cli \
        test-python test-sanitized test-long test-package test-frameworks \
        $(addprefix test-,$(FRAMEWORKS)) wheel install uninstall format format-check clean \
        distclean help needs-build needs-test needs-long needs-bench

all: $(BUILD)/build.ninja ## build the library and the program
	@cmake --build $(BUILD)

demo: $(BUILD)/build.ninja ## train on half of the bundled digits, evaluate the other half
	@cmake --build $(BUILD) --target nearfar_program
	@tools/demo out/demo

bench: $(BUILD)/build.ninja ## time the engine against the machine's ceiling, one JSON line a case
	@cmake --build $(BUILD) --target nearfar_bench
	@$(BUILD)/bench/nearfar_bench $(BENCH)

bench-large: $(BUILD)/build.ninja ## 60,000 trained rows, 100,000 and 1,000,000 separated ones (some minutes)
	@cmake --build $(BUILD) --target nearfar_bench nearfar_program
	@bench/large $(BUILD) out/bench $(BENCH)

bench-setup: wheel | needs-bench ## an environment for each peer of bench-peers (6 GB, some minutes)
	@bench/peers/setup $(BENCH_VENV) dist/*.whl

bench-peers: bench-setup ## time nearfar beside its peers (20 minutes; PEERS="--long --threads 2")
	@$(BENCH_VENV)/nearfar/bin/python bench/peers/run.py --environments $(BENCH_VENV) $(PEERS)
	@$(if $(PEERS),,$(MAKE) --no-print-directory bench-report)

bench-report: ## tables and plots of doc/benchmarks.md from the last bench-peers
	@$(BENCH_VENV)/nearfar/bin/python bench/peers/report.py out/bench/peers.jsonl doc

# ---- tests --------------------------------------------------------------------------------------

test: needs-test ## every suite: checks, lint, C, sanitizers, Python package, frameworks, oracles
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory format-check lint
	@$(MAKE) --no-print-directory test-sanitized
	@$(MAKE) --no-print-directory test-c
	@$(MAKE) --no-print-directory test-package test-frameworks
	@$(MAKE) --no-print-directory test-python

check: all ## the C suites and the checks alone (what to run while working)
	@$(CTEST) --test-dir $(BUILD) -j 2

test-c: all
	@$(CTEST) --test-dir $(BUILD) -j 2

# Command line and oracles in one pytest run, so that the last line counts both.
test-python: all $(VENV)/stamp ## the command-line suite and the NumPy/SciPy oracles
	@$(PYTHON) -m pytest tests/cli tests/python

# What is shipped is what is tested: the wheel, in an environment of its own.
test-package: wheel $(PACKAGE_VENV)/stamp ## the suites of the Python package, on its wheel
	@$(PACKAGE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --force-reinstall dist/*.whl
	@$(PACKAGE_VENV)/bin/python -m pytest tests/python_package

test-frameworks: $(addprefix test-,$(FRAMEWORKS)) ## nearfar in every framework; test-NAME for one

# A framework's suite, on the wheel, in an environment that has that framework alone.
$(addprefix test-,$(FRAMEWORKS)): test-%: wheel $(VENV)-%/stamp
	@$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --force-reinstall dist/*.whl
	@$(VENV)-$*/bin/python -m pytest tests/frameworks/$*

# The same C suites and the command-line suite under AddressSanitizer (with leaks) and UBSan.
test-sanitized: $(BUILD_ASAN)/build.ninja $(VENV)/stamp ## C and command-line suites under ASan and UBSan
	@cmake --build $(BUILD_ASAN)
	@$(CTEST) --test-dir $(BUILD_ASAN) -j 2
	@NEARFAR_BIN=$(abspath $(BUILD_ASAN))/cli/nearfar NEARFAR_SANITIZED=1 $(PYTHON) -m pytest tests/cli

test-long: needs-long ## thread sanitizer, clang, AArch64, valgrind, -O0 against -O3, fuzzing (an hour)
	@$(MAKE) --no-print-directory all
	@tools/test-long

lint: all ## clang-tidy over the library and the program
	@tools/lint $(BUILD)

format: ## rewrite the C sources with clang-format
	@tools/format

format-check: ## fail if clang-format would change a C source
	@tools/format --check

wheel: | needs-test ## the Python package as an abi3 wheel in dist/
	@tools/make-wheel .venv-wheel dist

# ---- install ------------------------------------------------------------------------------------

install: all ## install under PREFIX (default /usr/local); DESTDIR is respected
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"

uninstall: ## remove what the last install from this build folder wrote
	@xargs -r -d '\n' -I {} rm -f -- "$(DESTDIR){}" < $(BUILD)/install_manifest.txt

# ---- machinery ----------------------------------------------------------------------------------

needs-build:
	@tools/install-dependencies build

needs-test:
	@tools/install-dependencies build test

needs-long:
	@tools/install-dependencies build test long

needs-bench:
	@tools/install-dependencies test bench

$(BUILD)/build.ninja: | needs-build
	@$(CONFIGURE) -B $(BUILD) -DCMAKE_INSTALL_PREFIX="$(PREFIX)"

$(BUILD_ASAN)/build.ninja: | needs-build
	@$(CONFIGURE) -B $(BUILD_ASAN) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DNF_SANITIZE=address,undefined -DNF_BUILD_EXAMPLES=OFF

$(VENV)/stamp: $(REQUIRES) | needs-test
	@tools/make-venv $(VENV) $(REQUIRES)
	@touch $@

$(PACKAGE_VENV)/stamp: tests/python_package/requirements.txt | needs-test
	@tools/make-venv $(PACKAGE_VENV) $<
	@touch $@

$(FRAMEWORKS:%=$(VENV)-%/stamp): $(VENV)-%/stamp: tests/frameworks/%/requirements.txt | needs-test
	@tools/make-venv $(VENV)-$* $<
	@touch $@

clean: ## remove build folders and results
	@rm -rf $(BUILD) $(BUILD)-* out dist

distclean: clean ## clean, and the Python environments
	@rm -rf $(VENV) $(VENV)-*

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile
