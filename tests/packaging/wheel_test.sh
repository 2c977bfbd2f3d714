#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment of each Python that is named, and uses it
# where nothing of the checkout is but the tests: every command, the README's for a device, and
# where there is no torch, from 3.12 on, the tests of the device's side. A Python that is not here
# is left out, and that is said.
#
#   PYTHON=.venv/bin/python tests/packaging/wheel_test.sh 3.11 3.13
#
# PYTHON is the one that works on the project: it builds, and makes the bundles that tests without
# torch are given, in CBPNET_BUNDLES. TORCH_INDEX is install.sh's --torch-index. All is left in
# .cache/wheel-test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset PYTHONPATH
fail() { echo "error: $*" >&2; exit 1; }

device_tests=(tests/cbpnet/host tests/cbpnet/data tests/cbpnet/run
    tests/mobile/device tests/mobile/measure tests/mobile/trust tests/mobile/raspberry_pi/test_*.py)
megabytes_allowed=150 # of an environment without torch
work="$PWD/.cache/wheel-test"
export CBPNET_BUNDLES="${CBPNET_BUNDLES:-$work/bundles}" CBPNET_SHARED="${CBPNET_SHARED:-$PWD/../shared}"
export PIP_DISABLE_PIP_VERSION_CHECK=1
rm -rf "$work"
mkdir -p "$work" "$CBPNET_BUNDLES"

echo "Building the wheel, and the bundles that are tried with it"
"$PYTHON" -m build --outdir "$work/dist" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
wheel="$(echo "$work"/dist/*.whl)"
diff <(git ls-files cbpnet mobile quantize | sort) \
    <("$PYTHON" -m zipfile -l "$wheel" | awk '$1 ~ /^(cbpnet|mobile|quantize)\// { print $1 }' | sort) ||
    fail "the packages (<) and the wheel (>) do not hold the same files"
"$PYTHON" -m pytest -q tests/mobile/make_bundles.py

# A virtual environment with the wheel, made as the guide to the Raspberry Pi says for its Python.
install() {
    local version="$1" python="$2" environment="$3"
    "$python" -m venv "$environment"
    if [[ "$version" = 3.11 ]]; then
        "$environment/bin/pip" install --quiet --no-deps "$wheel"
        "$environment/lib/python3.11/site-packages/mobile/raspberry_pi/install.sh" "$environment" \
            --python "$python" --from "$wheel" ${TORCH_INDEX:+--torch-index "$TORCH_INDEX"}
        return
    fi
    "$environment/bin/pip" install --quiet "$wheel"
    "$environment/bin/pip" check
    local size="$(du -sm "$environment" | cut -f1)"
    echo "The environment takes $size MB, of $megabytes_allowed allowed"
    ((size <= megabytes_allowed)) || fail "the environment is too large"
}

for version; do
    # PYENV_VERSION means something where python3.x is a shim of pyenv's, and nothing elsewhere.
    python="$(PYENV_VERSION=$version "python$version" -c 'import sys; print(sys.executable)' 2>/dev/null)" || {
        echo "wheel test skipped on Python $version: there is no python$version here that starts"
        continue
    }
    echo "Python $version"
    mkdir "$work/$version"
    install "$version" "$python" "$work/$version/env"
    "$work/$version/env/bin/pip" install --quiet "${wheel}[test]"
    cp -R README.md pyproject.toml tests "$work/$version/"
    (
        cd "$work/$version"
        env/bin/pytest -q tests/packaging/installed.py tests/packaging/readme_commands.py
        [[ "$version" = 3.11 ]] || env/bin/pytest -q --numprocesses 2 --dist loadfile "${device_tests[@]}"
    )
done
