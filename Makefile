# make demo: STANet+ from tags to students on a small made world, and report.html. make experiment: the same at full size for three seeds.
# Its seeds run side by side; on an accelerator give PARALLEL=1.
# make demo-eps, experiment-eps: the same of EPS. make default-student CLIPS=DIR: trains the packaged student on clips in folders of
# their tags, with YAMNet fetched or converted before. make ablations: after make experiment, TPAMI Tables 2 to 5, trained.
# make test: ruff, mypy, the tests; make test-thorough: those of benchmarks, which take longer. make torture: damaged files, kills, full
# disks and the like by a seed, an hour or two, and docs/reliability.md; make torture-quick: some of each. All work in .venv, made on first
# use, but for make gpu-report, which measures the nets on an accelerator in ten minutes, offline: it takes the Python that has JAX for it,
# PYTHON=.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
PARALLEL ?= 3

.PHONY: demo experiment demo-eps experiment-eps ablations default-student gpu-report test test-thorough torture torture-quick clean

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-compile --editable '.[test]'  # most of what it brings is never imported
	$(VENV)/bin/python -c 'import pytest, xdist, beartype, chex, h5py, scipy.io, scipy.ndimage, stanet_jax.pipeline.run, stanet_jax.data.preparation, stanet_jax.inference.opening'
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python -m stanet_jax.pipeline --config=configs/stanet.py:demo --workdir=$(RUN)

experiment: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.experiment --seeds=3 --parallel=$(PARALLEL) --workdir=runs/experiment --out=docs/results.md

demo-eps: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.eps --seeds=1 --epochs=12 --selections none adaptive --workdir=runs/demo-eps --out=runs/demo-eps/eps.md

experiment-eps: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.eps --seeds=3 --workdir=runs/experiment-eps --out=docs/results.md

ablations: $(VENV)/installed
	for table in 2 3 4 5; do $(VENV)/bin/python -m stanet_jax tables --paper=tpami --table=$$table --run=runs/experiment/seed0 --train \
		--out=docs/tables/tpami$$table.md || exit 1; done

default-student: $(VENV)/installed
	$(VENV)/bin/pip install --quiet --editable '.[pretrained]'
	$(VENV)/bin/python -m stanet_jax run --config=stanet:real --config.data.root=$(CLIPS) --config.data.prepared=data/real --workdir=runs/real0
	$(VENV)/bin/python -m stanet_jax pack --run=runs/real0/sta --out=stanet_jax/student/weights

gpu-report:
	$(PYTHON) -m benchmarks.accelerator --minutes=10 --out=docs/accelerator.md

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy > $(VENV)/mypy.txt & $(VENV)/bin/python -m pytest && { wait $$! || { cat $(VENV)/mypy.txt; exit 1; }; }

test-thorough: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m thorough

torture: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.torture --out=docs/reliability.md

torture-quick: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.torture --quick

clean:
	rm -rf $(VENV) runs data
