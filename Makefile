# The front door of leaksafe. Everything is made in $(VENV) and target/, when it is first needed.

VENV ?= .venv
PY := $(VENV)/bin/python
# A build that needs no look when none of these has changed. Python's files are used where they lie.
SOURCES := Cargo.toml Cargo.lock build.rs pyproject.toml $(shell find src -name '*.rs')

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo docs test test-cachetools check bench bench-threads bench-compare safety fuzz soak soak-models miri deny asan wheels instructions clean ready-to-test

help: ## say what there is (the default)
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: $(VENV)/.built ## everyday leaks and their cures side by side, on real input
	@$(PY) -m leaksafe.demo $(ARGS)

docs: $(VENV)/.built $(VENV)/.group-docs ## the site of the documentation, in target/docs/html
	@$(PY) tools/build_docs.py

test: ready-to-test $(VENV)/.group-lint $(VENV)/.group-docs ## all tests and checks, the free-threaded ones too where there is such a Python
	@tools/check-rust rustfmt clippy
	@$(PY) tools/run_checks.py

test-cachetools: $(VENV)/.built ## cachetools' own tests, fetched, against leaksafe.compat.cachetools
	@$(PY) tools/test-cachetools

check: ready-to-test $(VENV)/.group-lint $(VENV)/.group-docs ## the checks that take little time
	@tools/check-rust rustfmt clippy
	@$(PY) tools/run_checks.py --quick

bench: $(VENV)/.built $(VENV)/.group-bench ## speed and memory beside the peers, threads where there is no GIL, then core alone (ARGS=--help: the options)
	@$(PY) -m benches $(ARGS)
	@python=$$(tools/find-free-threaded) && { [ -z "$$python" ] || CARGO_TARGET_DIR=target/free-threaded \
		$(MAKE) --no-print-directory VENV=.venv-t PYTHON="$$python" bench-threads; }
	@cargo bench --no-default-features --bench core

bench-threads: $(VENV)/.built
	@$(PY) -m benches --only hit --only get --only call-1 --only threads

bench-compare: $(VENV)/.built ## the hottest paths against another revision (REV=main~1)
	@$(PY) tools/compare.py $(or $(REV),$(error Which revision? make bench-compare REV=main~1)) $(ARGS)

wheels: $(VENV)/.group-wheels ## the source distribution and a wheel for each Python here, built and tried (into dist/)
	@tools/check-rust
	@$(PY) tools/wheels.py $(ARGS)

instructions: $(VENV)/.built ## note the instructions of the hottest paths, which make test compares with (needs valgrind)
	@$(PY) tools/instructions.py --write

safety: $(VENV)/.built $(VENV)/.group-bench ## what goes wrong with caches, tried on ours and the peers: docs/safety.md
	@$(PY) -m safety $(ARGS)

fuzz: ready-to-test ## hostile objects against every name, random steps against models of core (SECONDS=600, ARGS=--help)
	@PYTHONPATH=tests $(PY) -m fuzz --seconds $(or $(SECONDS),600) $(ARGS)
	@tools/fuzz-core $(or $(SECONDS),600)

soak: ready-to-test ## an hour of mixed work from threads and tasks, with memory as docs/soak.svg (SECONDS=3600)
	@$(PY) tests/soak.py --seconds $(or $(SECONDS),3600) --svg docs/soak.svg $(ARGS)

soak-models: ready-to-test ## the models of the weak containers for about ten minutes, at random
	@$(PY) -m pytest -q --timeout=3600 --hypothesis-profile=soak tests/hostile/test_weak.py -k Model

miri: ## the tests of core under Miri
	@cargo +nightly miri --version >/dev/null 2>&1 || { echo "Miri is not there: rustup toolchain install nightly --component miri,rust-src" >&2; exit 1; }
	@MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --no-default-features --lib --tests

deny: ## licences, duplicates and sources of the crates, by cargo-deny
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is not there: cargo install cargo-deny" >&2; exit 1; }
	@cargo deny --all-features check licenses bans sources

asan: $(VENV)/.built ## the fuzzer under AddressSanitizer, with a Rust that can
	@tools/asan

clean: ## remove all that was made
	rm -rf .venv .venv-t target dist leaksafe-demo.html .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f python/leaksafe/_core*.so
	find python tests benches tools -name __pycache__ -prune -exec rm -rf {} +

ready-to-test: $(VENV)/.built $(VENV)/.group-test

$(PY):
	@tools/check-rust
	@python=$$(tools/find-python) && "$$python" -m venv --clear $(VENV)

# The pip that an older Python brings knows no dependency groups.
$(VENV)/.group-%: pyproject.toml | $(PY)
	@$(PY) -m pip install --quiet 'pip>=25.1'
	@$(PY) -m pip install --quiet --group $*
	@touch $@

# maturin refuses to choose between a virtual environment and conda's.
$(VENV)/.built: $(SOURCES) | $(PY) $(VENV)/.group-build
	@tools/check-rust
	@env -u CONDA_PREFIX VIRTUAL_ENV=$(abspath $(VENV)) $(PY) -m maturin develop --release --extras demo
	@touch $@
