# make demo: trains the classifiers on the embedded set. make test: runs the tests. Both work in .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/coarse

.PHONY: demo test clean

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python train.py --config=configs/scam_coarse.py --workdir=$(RUN)

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python -m pytest

clean:
	rm -rf $(VENV) runs data
