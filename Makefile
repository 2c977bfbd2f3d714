# Each of demo, test, lint and the checks first installs what is missing into .venv.
# Another interpreter: make PYTHON=/path/to/python3.12 test
# torch from another index than pip's own: make TORCH_INDEX=ADDRESS test

PYTHON ?= $(shell command -v python3.11 || echo python3)
NPU_EXTRAS = openvino,vgf,ethos-u,coreml
NPU_TESTS = $(addprefix tests/mobile/targets/test_,$(addsuffix .py,openvino vgf ethos_u coreml vulkan targets))
TORCH = $(shell sed -n 's/^ *"\(torch==[^";]*\)",.*/\1/p' pyproject.toml)
FROM_INDEX = $(TORCH_INDEX:%=--index-url %)
CUDA = "name": *"(nvidia|cuda)[-_a-z0-9]*"

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test slow-test lint vectors wheel-test aarch64-check android-test npu-test clean

demo: .venv/installed
	.venv/bin/cbpnet-mobile demo --out demo_output

# A file's tests stay in one process, for they share what they export.
test: .venv/installed
	.venv/bin/pytest --cov --numprocesses auto --maxprocesses 4 --dist loadfile

slow-test: .venv/installed
	.venv/bin/pytest -m slow

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# What test, wheel-test and android-test hold their engines against: make vectors CBPNET_VECTORS=FOLDER
vectors: .venv/installed
	.venv/bin/python android_demo/conformance/write_vectors.py "$${CBPNET_VECTORS:?names the folder to write}"

# The wheel, used outside of the checkout by each of these Pythons; what is missing is said.
wheel-test: .venv/installed
	PYTHON=$(CURDIR)/.venv/bin/python TORCH_INDEX=$(TORCH_INDEX) tests/packaging/wheel_test.sh 3.11 3.13

android-test: .venv/installed
	PYTHON=$(CURDIR)/.venv/bin/python android_demo/tools/check.sh

# The targets whose packages `make test` does without; VGF is executed in Arm's emulation layer.
npu-test: .venv/npu-installed
	CBPNET_VGF_CACHE=.cache/vgf PYTHON=$(CURDIR)/.venv/bin/python \
		mobile/targets/vgf_emulation.sh .venv/bin/pytest -m "" $(NPU_TESTS)

# What it downloads stays in .cache (1.5 GB); see docs/aarch64.md.
aarch64-check: .venv/installed
	.venv/bin/python -m mobile.raspberry_pi.aarch64_check

# The mark is written last, so an interrupted installation is taken up again.
# torch goes first and alone: resolved together with the rest, another package's
# open range for torch may draw a newer build.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: Python 3.11 or later is needed and $(PYTHON) is not that; name one with make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) lacks the venv module; on Debian, apt install python3-venv" >&2; \
		exit 1; }
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@if .venv/bin/pip install --quiet --dry-run --report - $(FROM_INDEX) "$(TORCH)" | grep -qiE '$(CUDA)'; then \
		echo "note: pip draws the CUDA build of torch, 2.4 GB more that nothing here needs; for the CPU build stop this and name PyTorch's CPU index: make TORCH_INDEX=ADDRESS (pytorch.org, Get Started: Linux, Pip, CPU)"; fi
	@echo "Installing $(TORCH) (the largest download; minutes on a slow line)"
	@.venv/bin/pip install --quiet $(FROM_INDEX) "$(TORCH)"
	@echo "Installing cbpnet-mobile and its other dependencies (a minute or two)"
	@.venv/bin/pip install --quiet --editable ".[dev]"
	@touch $@

.venv/npu-installed: .venv/installed
	@echo "Installing what the NPU targets need"
	@.venv/bin/pip install --quiet --editable ".[dev,$(NPU_EXTRAS)]"
	@touch $@

clean:
	rm -rf .venv .cache demo_output build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
	find cbpnet quantize mobile tests -name __pycache__ -prune -exec rm -rf {} +
