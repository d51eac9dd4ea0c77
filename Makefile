# Set-up, the main job and the checks, each one command from a bare clone.
# PYTHON=python3.12   make .venv/ with this Python (default: the first of 3.11 or newer that is found)
# TORCH=cpu|cuda      the build of PyTorch (default: cuda where there is an NVIDIA GPU, else cpu)
# ARGS='...'          more arguments for the search, or for pytest
# TEST_WORKERS=4      test files at a time (default: 2; 0: one after the other, in one process)

.DEFAULT_GOAL := help
.PHONY: help search test format environment lock clean

# Names to try; Debian and Ubuntu releases differ in which one is new enough.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
TORCH ?= auto
# Test files at a time; a process needs about 1.5 GB and starts others.
TEST_WORKERS ?= 2

# $(call with_python,ARGUMENTS) runs tools/environment.py with the first Python that is new enough.
define with_python
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        exec "$$python" tools/environment.py $(1); \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed; none of these is: $(PYTHONS). Say which one: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 2
endef

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

search: environment ## run the main job on the embedded synthetic data set (ARGS= adds options)
	.venv/bin/python -m nas_skeleton.search --space nb201 --dataset synthetic --seed 777 $(ARGS)

test: export OMP_NUM_THREADS ?= 1
test: environment ## run all checks: ruff, mypy, pytest (ARGS= goes to pytest)
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy
	.venv/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(ARGS)

format: environment ## let ruff mend what it can
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

environment: ## make or repair .venv/ (search and test do this themselves)
	$(call with_python,--torch $(TORCH) $(if $(PYTHON),--exact))

lock: ## resolve all versions anew and write constraints.txt (needs Python 3.11)
	$(call with_python,--lock)

clean: ## remove .venv/ and caches; data and runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
