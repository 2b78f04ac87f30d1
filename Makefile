# Two commands do all the set-up on a fresh machine with Python 3.11 or newer:
#   make demo   watch an autoencoder learn, see a photograph restored
#   make test   style, types and tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test test-slow notebooks docs clean

# Made anew each time, also where an earlier one was stopped half-way.
demo: $(VENV)/.demo
	rm -rf demo/digits demo/photo
	$(BIN)/pellucid demo -o demo

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev $(VENV)/.notebooks
	$(BIN)/python -m pytest -m "slow or gpu"

# Runs them and keeps the copies with their pictures; those in examples/ stay without.
notebooks: $(VENV)/.notebooks
	rm -rf build/notebooks && mkdir -p build/notebooks
	cp examples/*.ipynb build/notebooks
	$(BIN)/jupyter-execute --inplace build/notebooks/*.ipynb

docs: $(VENV)/.dev
	$(BIN)/python docs/make_api.py
	$(BIN)/python docs/make_pictures.py

# torch first and alone, so that its pinned version is there before anything asks for another.
$(VENV)/.torch: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/.demo: $(VENV)/.torch
	$(PIP) -e ".[train]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch
	$(PIP) -e ".[train,onnx,openvino,baselines,tensorboard,tiff,dicom,pdf,ocr,entropy,perceptual,dev]"
	touch $@

$(VENV)/.notebooks: $(VENV)/.torch
	$(PIP) -e ".[train,baselines,notebooks]"
	touch $@

clean:
	rm -rf demo build dist .mypy_cache .pytest_cache .ruff_cache
