# `make demo` and `make test` are all a newcomer needs: both set up what they need on first use.
# The rest is for those who stay.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test format lint type bench system clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))

# What the imports and windows load, as seen with ldd on the wheels: Open3D wants libusb, libGL
# and libgomp, Qt's xcb plugin the xcb family, a machine without a screen Xvfb.
PACKAGES := libusb-1.0-0 libgl1 libegl1 libgomp1 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
	libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libglib2.0-0 fonts-dejavu-core xvfb

demo: $(VENV)/.demo
	@$(BIN)/navapp demo $(if $(SWEEP),--sweep "$(SWEEP)") $(foreach mesh,$(CT),--ct "$(mesh)")

test: $(VENV)/.test
	$(MAKE) --no-print-directory lint type
	$(BIN)/pytest

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(VENV)/.test
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python tests/bench/run.py

clean:
	rm -rf $(VENV) out build ./*.egg-info

# Debian 13 and Ubuntu 24.04 renamed some libraries to ...t64; the old name still installs them.
system:
	@missing=""; \
	has() { dpkg-query -W -f='$${Status}' "$$1" 2>/dev/null | grep -q 'ok installed'; }; \
	if command -v dpkg-query >/dev/null; then \
		for package in $(PACKAGES); do \
			has $$package || has $${package}t64 || missing="$$missing $$package"; \
		done; \
		"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
			|| missing="$$missing $(notdir $(or $(PYTHON),python3))-venv"; \
	fi; \
	if [ -n "$$missing" ]; then \
		install="apt-get install -y --no-install-recommends$$missing"; \
		if [ "$$(id -u)" = 0 ]; then sudo=""; \
		elif sudo -n true 2>/dev/null; then sudo="sudo"; \
		else echo "System libraries are missing. Run: sudo $$install"; exit 1; fi; \
		echo "Installing system libraries:$$missing"; \
		$$sudo apt-get update -qq; \
		$$sudo env DEBIAN_FRONTEND=noninteractive $$install -qq >/dev/null; \
	fi

$(BIN)/python: | system
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | system $(BIN)/python
	@echo "Installing packages into $(VENV) (once, a minute or two) ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | system $(BIN)/python
	@echo "Installing packages for training and tests into $(VENV) (once, some minutes) ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train,zoo,test]'
	@touch $@ $(VENV)/.demo
