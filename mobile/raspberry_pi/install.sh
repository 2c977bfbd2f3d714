#!/usr/bin/env bash
# Installs the device's side of cbpnet-mobile into an environment of its own. Python 3.12 and later
# need no more than pip; on 3.11 it sees to it that torch is no CUDA build, and takes executorch
# without the exporter that its wheel asks for. Run again, it brings the environment up to date.
#
#   install.sh ENVIRONMENT [--from WHAT] [--python PATH] [--torch-index URL] [--camera]
#
# ENVIRONMENT    folder of the virtual environment, made where it is missing
# --from         a wheel file, or what pip takes from its index; without it, the checkout that this
#                script lies in, else cbpnet-mobile
# --python       the interpreter, 3.11 or later; without it, python3
# --torch-index  for Python 3.11: address of PyTorch's CPU wheels, which pytorch.org names under
#                "Get Started" for Linux, Pip and CPU; without it, what pip is configured for
# --camera       let the environment see the system's picamera2; on 3.11 that needs numpy below 2
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
fail() { echo "error: $*" >&2; exit 1; }

checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
what=cbpnet-mobile python=python3
[[ ! -e "$checkout/pyproject.toml" ]] || what="$checkout"
environment="" index=() numpy=() site=()
while (($#)); do
    case "$1" in
        -h | --help) usage; exit ;;
        --from | --python | --torch-index)
            (($# > 1)) || fail "$1 needs a value; see install.sh --help"
            case "$1" in
                --from) what="$2" ;;
                --python) python="$2" ;;
                --torch-index) index=(--index-url "$2") ;;
            esac
            shift ;;
        --camera) numpy=("numpy<2") site=(--system-site-packages) ;;
        -*) fail "the option $1 is unknown; see install.sh --help" ;;
        *) [[ -z "$environment" ]] || fail "two environments were named, $environment and $1"; environment="$1" ;;
    esac
    shift
done
[[ -n "$environment" ]] || { usage >&2; exit 2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or later is needed and $python is not that; name one with --python"
"$python" -c 'import sys; sys.exit(sys.maxsize < 2**32)' ||
    fail "$python is a 32-bit program, and the runtime has no 32-bit wheels; a 64-bit system is needed"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks the venv module; on Debian and Raspberry Pi OS, apt install python3-venv"
on_torch="$("$python" -c 'import sys; print(int(sys.version_info < (3, 12)))')"
megabytes_needed=$((on_torch ? 2500 : 250))
mkdir -p "$environment" || fail "cannot make $environment"
free="$(df --output=avail --block-size=1MB "$environment" | tail -1)"
if ((free < megabytes_needed)) && ! "$environment/bin/python" -c 'import safetensors' 2>/dev/null; then
    fail "$environment has $free MB of room, and about $megabytes_needed are needed"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
# Where /tmp lies in memory, a board of 1 GB has no room in it for torch.
export TMPDIR="$environment/tmp"
mkdir -p "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT

echo "Making $environment with $("$python" --version)"
"$python" -m venv ${site[@]+"${site[@]}"} "$environment"
pip() { "$environment/bin/python" -m pip "$@"; }
# A requirement of the package that was installed, without its conditions.
pin() {
    "$environment/bin/python" -c 'import importlib.metadata as metadata, sys
for requirement in metadata.requires("cbpnet-mobile"):
    if requirement.startswith(sys.argv[1] + "=="):
        print(requirement.partition(";")[0].strip())
        break' "$1"
}

if ((on_torch)); then
    pip install --quiet --upgrade --no-deps "$what" # for its pins
    torch="$(pin torch)"
    echo "Asking for $torch"
    drawn="$(pip install --quiet --dry-run --report - ${index[@]+"${index[@]}"} "$torch")" ||
        fail "pip finds no $torch for this machine; --torch-index names PyTorch's CPU wheels"
    if grep -qiE '"name": *"(nvidia|cuda)[-_a-z0-9]*"' <<<"$drawn"; then
        fail "pip would install a CUDA build of torch, gigabytes that a board has no use for; pass --torch-index with the address of PyTorch's CPU wheels (pytorch.org, Get Started: Linux, Pip, CPU)"
    fi
    echo "Getting $torch (the largest download; minutes on a slow line)"
    pip download --quiet --no-deps --dest "$TMPDIR" ${index[@]+"${index[@]}"} "$torch"
    echo "Installing cbpnet-mobile and $(pin executorch)"
    pip install --quiet --upgrade "$TMPDIR"/torch-*.whl "$what" ${numpy[@]+"${numpy[@]}"}
    pip install --quiet --no-deps "$(pin executorch)"
else
    echo "Installing cbpnet-mobile"
    pip install --quiet --upgrade "$what"
fi

"$environment/bin/python" -c 'from mobile.device.program import get_threads; get_threads()' ||
    fail "the runtime does not start; see above"
rm -rf "$TMPDIR"
echo "Done: $environment/bin/cbpnet-mobile, $(du -sm "$environment" | cut -f1) MB"
"$environment/bin/python" -c 'import pathlib, sys
def in_a_home(path):
    return pathlib.Path(path).resolve().parts[1:2] in (("home",), ("root",))
if in_a_home(sys.base_prefix) and not in_a_home(sys.prefix):
    print(f"note: its Python lies in {sys.base_prefix}, which the service cbpnet-watch does not see;"
          " for the service, name one outside of home directories with --python")'
