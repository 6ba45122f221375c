# make course | test | test-all | validate | book | bench | evidence | address; see README.md
PROFILE ?= quick
DATA ?=
OUT ?=
PARAMS ?=
SEED ?=
FRESH ?=
KEEP ?=
REPO ?=
PYTHON ?= python3
BIN := .venv/bin

# A misspelt variable would be ignored, and a misspelt FRESH would remove a run.
KNOWN := PROFILE DATA OUT PARAMS SEED FRESH KEEP REPO PYTHON EVIDENCE REAL
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
ifneq ($(filter-out $(KNOWN) MAKE%,$(GIVEN)),)
$(error $(firstword $(filter-out $(KNOWN) MAKE%,$(GIVEN))) is no variable of this Makefile: use some of $(KNOWN))
endif
ifneq ($(filter-out 0 1,$(FRESH)),)
$(error FRESH is $(FRESH): FRESH=1 removes the earlier run and starts over; otherwise leave it out)
endif

.PHONY: course test test-all validate bench evidence evidence-rows book outputs lock address clean

course: .venv/installed
	@$(BIN)/python -m course run --profile "$(PROFILE)" --data "$(DATA)" --out "$(OUT)" \
	    $(if $(PARAMS),--params "$(PARAMS)") $(if $(SEED),--seed $(SEED)) $(if $(filter 1,$(FRESH)),--fresh)

test: ONLY = -m "not slow"
test test-all: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(ONLY)

validate: .venv/installed
	$(BIN)/pytest --nbval-lax --nbval-cell-timeout=3600 notebooks

# The environment is made once, from the lock; a changed lock makes it anew.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    { echo "Python 3.11, 3.12 or 3.13 is needed: give one as PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# The notebooks as committed, as a site: open book/_build/html/book/index.html.
book: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-book.lock
	$(BIN)/sphinx-build --quiet -c book . book/_build/html

# A reader's figures go to runs/benchmarks.json; a maintainer's, with KEEP=1, to the committed file.
bench: .venv/installed
	$(BIN)/python benchmarks/gan_step.py $(if $(KEEP),--keep)
	$(BIN)/python benchmarks/resnet_step.py $(if $(KEEP),--keep)
	$(BIN)/python benchmarks/classifiers.py $(if $(KEEP),--keep)

# For maintainers: what takes days, one after the other, from a checkout of its own that later commits
# don't touch: the studies of 36 simulated slices, of the real set and of 144 simulated slices; the
# pilot of ResNet-50; ResNet-50 on six simulated sets of each size; the published experiment.
# Each row is written when it is finished, and no committed row is computed again.
# `make evidence-rows` copies all rows into this working tree. To go on with the newest code, remove
# $(EVIDENCE)/checkout first.
EVIDENCE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gan-augmentation-course/evidence
REAL ?= ../shared/data/head-ct-hemorrhage
# Linux shares the processor between sessions first, and by nice within each.
LOW := { echo 19 > /proc/self/autogroup; } 2> /dev/null; nice -n 19
ROWS := study-36/study.json:study_36 study-folds/study.json:study_folds \
    study-144/study.json:study_144 \
    pilot_resnet50.json:pilot_resnet50 resnet50_sets.json:resnet50_sets published.json:published
evidence:
	@test -e "$(EVIDENCE)/checkout" || git clone --quiet . "$(EVIDENCE)/checkout"
	@$(MAKE) --no-print-directory -C "$(EVIDENCE)/checkout" .venv/installed
	@mkdir -p $(foreach name,36 folds 144,"$(EVIDENCE)/study-$(name)")
	@ln -sfn "$(abspath $(REAL))" "$(EVIDENCE)/head-ct-hemorrhage"
	@cd "$(EVIDENCE)" && for pair in $(ROWS); do \
	    kept=checkout/experiments/results/$${pair##*:}.json; \
	    if [ -e $$kept ] && [ ! -e $${pair%%:*} ]; then cp $$kept $${pair%%:*}; fi; \
	done
	cd "$(EVIDENCE)/checkout" && export PYTHONPATH=. && $(LOW) sh -ec '\
	    study() { $(BIN)/python -m course study "$$@"; }; \
	    study --images 36 --out ../study-36; \
	    study --data ../head-ct-hemorrhage --out ../study-folds; \
	    study --images 144 --out ../study-144; \
	    $(BIN)/python experiments/pilot_resnet50.py --results ../pilot_resnet50.json; \
	    failed=0; \
	    $(BIN)/python experiments/resnet50_sets.py --studies ../study-36 ../study-144 \
	        --pilot ../pilot_resnet50.json --processes 2 --results ../resnet50_sets.json || failed=$$?; \
	    $(BIN)/python experiments/published.py --data ../head-ct-hemorrhage --gans ../gans \
	        --pilot ../pilot_resnet50.json --results ../published.json || failed=$$?; \
	    exit $$failed'

evidence-rows:
	@for pair in $(ROWS); do \
	    if [ -e "$(EVIDENCE)/$${pair%%:*}" ]; then \
	        cp -v "$(EVIDENCE)/$${pair%%:*}" experiments/results/$${pair##*:}.json; fi; \
	done

# For maintainers: the outputs that the notebooks show, and what a run takes, on an idle machine.
outputs: .venv/installed
	$(BIN)/python -m course run --profile smoke --fresh
	$(BIN)/python -m course run --profile quick --fresh
	for name in 06_beyond_the_paper 07_your_own_images; do \
	    $(BIN)/papermill --no-progress-bar notebooks/$$name.ipynb runs/quick/notebooks/$$name.ipynb || exit; \
	done
	$(BIN)/python tests/keep_outputs.py runs/quick runs/smoke

# For maintainers, with uv: the newest versions that pyproject.toml allows, for Python 3.11 to 3.13;
# and the two conda environments.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	    --no-header --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra dev --extra book --universal --python-version 3.11 \
	    --constraint requirements.lock --no-header --quiet --output-file requirements-book.lock
	$(PYTHON) binder/conda_environments.py

# For maintainers: the public address, as owner/name, in every place that names it; without REPO,
# the checksum of a new release.
address: .venv/installed
	@$(BIN)/python binder/address.py --repo="$(REPO)"

clean:
	rm -rf .venv .venv-lowest*
