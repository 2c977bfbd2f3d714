#!/usr/bin/env bash
# Installs what a board needs to run, test and teach a bundle into an environment of its own: not the
# exporter, and no CUDA. Run again, it brings the environment up to date.
#
#   install.sh ENVIRONMENT [--torch-index URL] [--camera]
#
# ENVIRONMENT    folder of the virtual environment, made where it is missing
# --torch-index  address of PyTorch's CPU wheels, which pytorch.org names under "Get Started" for
#                Linux, Pip and CPU; without it, what pip is configured for
# --camera       let the environment see the system's picamera2, which needs numpy below 2
set -euo pipefail

usage() { sed -n 's/^# \{0,1\}//;2,10p' "${BASH_SOURCE[0]}"; }
fail() { echo "error: $*" >&2; exit 1; }

checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-python3.11}"
megabytes_needed=2500
environment="" index=() numpy=() site=()
while (($#)); do
    case "$1" in
        -h | --help) usage; exit ;;
        --torch-index) (($# > 1)) || fail "--torch-index needs an address"; index=(--index-url "$2"); shift ;;
        --camera) numpy=("numpy<2") site=(--system-site-packages) ;;
        -*) fail "the option $1 is unknown; see install.sh --help" ;;
        *) [[ -z "$environment" ]] || fail "two environments were named, $environment and $1"; environment="$1" ;;
    esac
    shift
done
[[ -n "$environment" ]] || { usage >&2; exit 2; }

pin() { sed -n "s/^ *\"\($1==[^\"]*\)\".*/\1/p" "$checkout/pyproject.toml"; }
torch="$(pin torch)" executorch="$(pin executorch)"

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    fail "Python 3.11 is needed and $python is not that; name one with PYTHON=... install.sh (the README says where from)"
"$python" -c 'import sys; sys.exit(sys.maxsize < 2**32)' ||
    fail "$python is a 32-bit program, and torch has no 32-bit wheels; a 64-bit system is needed"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks the venv module; on Debian and Raspberry Pi OS, apt install python3-venv"
mkdir -p "$environment" || fail "cannot make $environment"
free="$(df --output=avail --block-size=1MB "$environment" | tail -1)"
if [[ ! -x "$environment/bin/cbpnet-mobile" ]] && ((free < megabytes_needed)); then
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

echo "Asking for $torch"
drawn="$(pip install --quiet --dry-run --report - ${index[@]+"${index[@]}"} "$torch")" ||
    fail "pip finds no $torch for this machine; --torch-index names PyTorch's CPU wheels"
if grep -qiE '"name": *"(nvidia|cuda)[-_a-z0-9]*"' <<<"$drawn"; then
    fail "pip would install a CUDA build of torch, gigabytes that a board has no use for; pass --torch-index with the address of PyTorch's CPU wheels (pytorch.org, Get Started: Linux, Pip, CPU)"
fi
echo "Installing $torch (the largest download; minutes on a slow line)"
pip install --quiet ${index[@]+"${index[@]}"} "$torch"
echo "Installing cbpnet-mobile and $executorch"
pip install --quiet "$checkout" ${numpy[@]+"${numpy[@]}"}
# Alone: its wheel asks for the exporter's packages, which nothing on a device imports.
pip install --quiet --no-deps "$executorch"

"$environment/bin/python" -c 'from mobile.device.program import get_threads; get_threads()' ||
    fail "the runtime does not start; see above"
echo "Done: $environment/bin/cbpnet-mobile, $(du -sm "$environment" | cut -f1) MB"
