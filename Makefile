# Every goal sets up what it needs in .venv: a fresh machine with Python 3.11 and pip will do.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test coverage slow pages batteries lint bench panels numbers gallery mutations docs dist wheel-test floors \
	review sbom audit lock clean

demo: $(READY)
	$(BIN)/lazyrich run lyu2024/1a --out demo --force

# The tests of a file run in one process, and share what is compiled: a fifth less work.
test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not battery"

# The share of the package's lines that the quick tests run, also in the processes that they start.
coverage: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not battery" --cov --cov-report=term

# Tests of several seconds each, most of it compilation: about an hour. CI runs them, too.
slow: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m "slow and not battery"

# The code of long pages, and the notebooks: three minutes. CI runs them, too.
pages: $(READY)
	$(BIN)/pytest -n 2 -m battery tests/test_pages.py

# Generated tables of combinations, hostile files and command lines.
batteries: $(READY)
	$(BIN)/pytest -n 2 -m battery

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .venv/site

# The first is about ten minutes; the second, the diagrams of docs/explanation/flow.md, about forty.
bench: $(READY)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/work_precision.py

# Every panel over five data seeds, beside the published numbers: about ten minutes.
panels: $(READY)
	$(BIN)/python benchmarks/panels.py

# The cheap numbers of the documentation, measured again and compared with the pages: four minutes.
numbers: $(READY)
	$(BIN)/python benchmarks/page_numbers.py
	$(BIN)/pytest -n 2 tests/test_pages.py -k "code_runs and (README or first-run or own-network or normalised or record)"

# The experiments of docs/results/gallery.toml, and the stories of the tour: about ten minutes.
gallery: $(READY)
	$(BIN)/python mkdocs_gallery.py
	$(BIN)/python mkdocs_tour.py

# Small mutations of the code, and whether the tests notice: several minutes for each of 14 rooms.
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

# The source distribution and the wheel in dist/, then used as a user would, with each extra by
# itself: some minutes.
dist: $(READY)
	$(BIN)/python release/wheel.py --only-build

wheel-test: $(READY)
	$(BIN)/python release/wheel.py

# The quick tests with the wheel and the oldest versions that are supported, in an environment of
# their own: about ten minutes. Left out is what needs PyTorch, Flax and Haiku, or the tools of the site.
NOT_OLD = default_session house other_libraries pages release types torch_*
floors: .venv/floors/.ready dist
	.venv/floors/bin/pip install --quiet --no-deps --force-reinstall dist/lazyrich-*.whl
	.venv/floors/bin/pip check
	.venv/floors/bin/pytest -n 2 --dist loadfile -m "not slow and not battery and not browser" \
		-o addopts=--strict-markers -o filterwarnings=ignore $(NOT_OLD:%=--ignore-glob='tests/test_%.py')

.venv/floors/.ready: requirements-floors.txt
	$(PYTHON) -m venv .venv/floors
	.venv/floors/bin/pip install --quiet -r $<
	touch $@

# Scientific Python's review of the repository; exceptions and their reasons are in pyproject.toml.
review: $(READY)
	$(BIN)/repo-review .

# What a user installs, as a bill of materials (CycloneDX), and what is known of its faults.
sbom: $(READY) .venv/release/.ready
	.venv/release/bin/python release/sbom.py $(BIN)/python dist/lazyrich.cdx.json

audit: .venv/release/.ready
	.venv/release/bin/python release/audit.py requirements.lock requirements-torch.txt

.venv/release/.ready: requirements-release.lock
	$(PYTHON) -m venv .venv/release
	.venv/release/bin/pip install --quiet --require-hashes -r $<
	touch $@

# Pins and hashes of every dependency, without addresses. For maintainers, on the oldest
# Python that is supported.
PINS = .venv/lock/bin/uv pip compile --quiet --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
COMPILE = $(PINS) --generate-hashes
# All extras but torch.
LOCKED = maps slurm data mnist track view explore
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	$(COMPILE) $(LOCKED:%=--extra %) --group dev -o requirements.lock pyproject.toml
	$(COMPILE) --group release -o requirements-release.lock
	rm -f requirements-floors.txt
	$(PINS) --resolution lowest-direct $(LOCKED:%=--extra %) --group floors \
		-o requirements-floors.txt pyproject.toml
	echo "cosmic-ray>=8.7" | $(COMPILE) -o requirements-mutations.lock -

clean:
	rm -rf .venv demo runs site dist
