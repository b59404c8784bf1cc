# Everything is done by bootstrap.py, which needs Python 3.11 and nothing else.
PYTHON ?= python3

.PHONY: help lab setup check test notebooks bench fuzz soak
help:
	@echo "make lab        install and open JupyterLab at the tour"
	@echo "make test       install and run every test"
	@echo "make setup      install only"
	@echo "make check      ruff, mypy --strict, import contracts"
	@echo "make notebooks  run the notebooks and compare their outputs"
	@echo "make bench      measure, and write docs/benchmarks.md"
	@echo "make fuzz       give the parsers bytes that lie, for a minute each"
	@echo "make soak       kill the stores 200 times, a million commits, kernels of Debian (some 20 minutes)"

lab setup check test notebooks bench fuzz soak:
	@$(PYTHON) bootstrap.py $@
