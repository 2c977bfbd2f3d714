#!/usr/bin/env bash
# Runs a command where Vulkan has Arm's extensions for neural networks: emulated by Arm's layers, on
# a Vulkan driver that computes on the CPU.
#
#   mobile/targets/vgf_emulation.sh cbpnet-mobile export --target vgf ...
#
# The layers are those of the extra `vgf` of the Python that is used (PYTHON), the driver and
# Vulkan's loader are Debian's or Ubuntu's, of Mesa 25 or newer. Of these, what the machine lacks is
# unpacked into the user's cache, or CBPNET_VGF_CACHE; nothing is installed on it, and nobody has to be
# root.
set -euo pipefail
cache=$(realpath -m "${CBPNET_VGF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cbpnet-mobile/vgf}")
[ $# -gt 0 ] || { echo "usage: $0 <command> [argument...]" >&2; exit 2; }

fail() {
    echo "error: $1" >&2
    exit 1
}

# Packages that the machine lacks, from its own archives; Debian 12 has the driver in its backports.
fetch_driver() {
    local apt=$cache/apt archive options package=mesa-vulkan-drivers
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    options=(-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" -o Debug::NoLocking=true
        -o APT::Sandbox::User=)
    if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ]; then
        package=$package/bookworm-backports
        archive=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -1)
        for release in bookworm bookworm-backports; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $release main"
        done >"$apt/sources.list"
        options+=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    fi
    apt-get "${options[@]}" update &&
        apt-get "${options[@]}" install --yes --download-only --no-install-recommends \
            "$package" libvulkan1 || return
    for archive in "$apt"/archives/*.deb; do
        if [ -e "$archive" ]; then dpkg -x "$archive" "$cache/debian" || return; fi
    done
}

# The loader of Debian 12 starts layers in the order in which it finds them: each has a folder.
place_layers() {
    local layer
    for layer in Graph Tensor; do
        mkdir -p "$cache/layers/$layer"
        cp "$1/share/vulkan/explicit_layer.d/VkLayer_$layer.json" "$cache/layers/$layer/"
    done
}

deploy=$("${PYTHON:-python3}" -c 'import emulation_layer.cli as cli, os
print(os.path.dirname(cli.get_deploy_paths()["LD_LIBRARY_PATH"]))' 2>/dev/null) ||
    fail "Arm's emulation layer is not installed; install it with: pip install 'executorch[vgf]==1.4.1'"
mkdir -p "$cache/debian"
if [ ! -e "$cache/driver.done" ]; then
    fetch_driver >"$cache/apt.log" 2>&1 || fail "apt cannot bring a Vulkan driver, see $cache/apt.log"
    touch "$cache/driver.done"
fi
place_layers "$deploy"

driver=$(find "$cache/debian" /usr/share/vulkan -path '*/icd.d/lvp_icd*.json' -print -quit 2>/dev/null) || true
libraries=$(find "$cache/debian" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
[ -n "$driver" ] || fail "Mesa's Vulkan driver for the CPU is not where it should be"
export VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver # the latter for older loaders
export VK_LAYER_PATH=$cache/layers/Graph:$cache/layers/Tensor
export VK_INSTANCE_LAYERS=VK_LAYER_ML_Graph_Emulation:VK_LAYER_ML_Tensor_Emulation
export LD_LIBRARY_PATH=${libraries:+$libraries:}$deploy/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
