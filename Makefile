# Every goal sets up what it needs in .venv: a fresh machine with Python 3.11 and pip will do.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test slow batteries lint bench panels gallery mutations docs lock clean

demo: $(READY)
	$(BIN)/lazyrich run lyu2024/1a --out demo --force

test: $(READY)
	$(BIN)/pytest -n 2 -m "not slow and not battery"

# Tests of several seconds each, most of it compilation: half an hour. CI runs them, too.
slow: $(READY)
	$(BIN)/pytest -n 2 -m "slow and not battery"

# Generated tables of combinations, hostile files and command lines.
batteries: $(READY)
	$(BIN)/pytest -n 2 -m battery

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .venv/site

# The first is about ten minutes; the second, the diagrams of docs/flow.md, about forty.
bench: $(READY)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/work_precision.py

# Every panel over five data seeds, beside the published numbers: about ten minutes.
panels: $(READY)
	$(BIN)/python benchmarks/panels.py

# The experiments of docs/gallery.toml, and the stories of the tour: about ten minutes.
gallery: $(READY)
	$(BIN)/python mkdocs_gallery.py
	$(BIN)/python mkdocs_tour.py

# Small mutations of the code, and whether the tests notice: about an hour.
mutations: $(READY) .venv/mutations/.ready
	.venv/mutations/bin/python benchmarks/mutations.py

.venv/mutations/.ready: requirements-mutations.lock
	$(PYTHON) -m venv .venv/mutations
	.venv/mutations/bin/pip install --quiet --require-hashes -r $<
	touch $@

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

$(READY): requirements.lock requirements-torch.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet -r requirements-torch.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

# Pins and hashes of every dependency, without addresses. For maintainers, on the oldest
# Python that is supported.
COMPILE = .venv/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	--no-header --no-annotate
# All extras but torch.
LOCKED = maps slurm data mnist track view explore test lint docs build
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet pip-tools
	$(COMPILE) $(LOCKED:%=--extra %) -o requirements.lock pyproject.toml
	echo "cosmic-ray>=8.7" | $(COMPILE) -o requirements-mutations.lock -

clean:
	rm -rf .venv demo runs site
