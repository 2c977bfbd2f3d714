# Brings packages from pip's, npm's and apt's registries, as configured on this machine, into the
# cache. Nothing is installed on the system. Expects $cache.

debian=$cache/debian
kotlin=$cache/pip/unpacked/run_kotlin_kernel/jars

# The check is optional, so a machine that cannot bring a package skips it.
skip() {
    echo "android-test: skipped, $1 cannot be had here (see $cache/packages.log)"
    exit 0
}

# once <mark> <command...>: runs the command unless it has succeeded before.
once() {
    local mark=$cache/$1
    shift
    [ -e "$mark" ] && return
    "$@" >>"$cache/packages.log" 2>&1 || skip "the package ${*: -1}"
    touch "$mark"
}

# Kotlin's compiler, in the one Python package that carries a current one.
fetch_kotlin() {
    once kotlin.done fetch_pip kotlin-jupyter-kernel==0.19.0.944
}

fetch_pip() {
    rm -rf "$cache/pip" && mkdir -p "$cache/pip"
    "${PYTHON:-python3}" -m pip download --no-deps --dest "$cache/pip" "$1" &&
        unzip -qo "$cache"/pip/*.whl -d "$cache/pip/unpacked"
}

# ExecuTorch's classes and Android library with XNNPACK, in React Native's package of them, and
# what that library needs: fbjni and a C++ runtime, for x86-64 and for a phone.
fetch_executorch() {
    once executorch.done fetch_npm react-native-executorch@0.9.3
    once react-native.done fetch_npm react-native@0.70.15
    local native=$cache/npm/react-native-executorch/third-party/android/libs/executorch
    executorch_classes=$cache/npm/react-native-executorch/android/libs/classes.jar
    local react=$cache/npm/react-native/aar
    if [ ! -e "$react" ]; then
        unzip -qo "$cache"/npm/react-native/android/com/facebook/react/react-native/*/*-release.aar \
            'jni/*/libfbjni.so' 'jni/*/libc++_shared.so' -d "$react"
    fi
    local abi
    for abi in x86_64 arm64-v8a; do
        mkdir -p "$cache/jni/$abi"
        cp -u "$native/$abi/libexecutorch.so" "$react/jni/$abi"/*.so "$cache/jni/$abi"
    done
}

fetch_npm() {
    local folder=$cache/npm/${1%@*}
    rm -rf "$folder" && mkdir -p "$folder"
    (cd "$folder" && npm pack --silent "$1" &&
        tar xzf ./*.tgz --strip-components=1 --wildcards '*/android/*' && rm ./*.tgz)
}

# fetch_debian <packages...>: unpacked into $debian.
fetch_debian() {
    local package
    for package; do once "$package.done" fetch_deb "$package"; done
}

fetch_deb() {
    local folder=$cache/debs/$1
    rm -rf "$folder" && mkdir -p "$folder" "$debian"
    # shellcheck disable=SC2086
    (cd "$folder" && apt-get ${apt_options-} download "$1" && dpkg -x ./*.deb "$debian")
}

# Android's build tools, with the libraries of theirs that a desktop mostly lacks.
fetch_build_tools() {
    local tools="aapt zipalign apksigner" libraries
    # shellcheck disable=SC2086
    libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances $tools |
        grep -E '^(android-lib|libapksig|libprotobuf-lite|libzopfli|libpng16|libexpat|libbsd|libmd|p7zip)' || true)
    # shellcheck disable=SC2086
    fetch_debian $tools $libraries android-framework-res
    PATH=$debian/usr/bin:$PATH
    android_libraries=$(find "$debian/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    framework=$debian/usr/share/android-framework-res/framework-res.apk
}

# The classes that a phone has, without code. Not every Debian release has the package, so it is
# looked for in others of the same archive, with package lists of their own.
fetch_android_stubs() {
    local archive suite lists=$cache/apt apt_options=
    android_stubs=$debian/usr/lib/android-sdk/platforms/android-23/android.jar
    [ -e "$cache/libandroid-23-java.done" ] && return
    archive=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -1)
    for suite in sid bullseye; do
        mkdir -p "$lists/$suite/partial"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$lists/$suite.list"
        apt_options="-o Dir::Etc::sourcelist=$lists/$suite.list -o Dir::Etc::sourceparts=/dev/null
            -o Dir::State::lists=$lists/$suite -o Dir::Cache=$lists"
        # shellcheck disable=SC2086
        apt-get $apt_options update >>"$cache/packages.log" 2>&1 || continue
        fetch_debian libandroid-23-java
        return
    done
    skip "the Debian package libandroid-23-java"
}
