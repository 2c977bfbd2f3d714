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
    ("$@") >>"$cache/packages.log" 2>&1 || skip "the package ${*: -1}"
    touch "$mark"
}

# Java 17 or newer: the machine's, or Debian's, whose links to its settings are made to point here.
fetch_jdk() {
    local link
    javac -version 2>&1 | grep -qE '^javac (1[7-9]|2[0-9])' && return
    fetch_debian openjdk-17-jre-headless openjdk-17-jdk-headless
    find "$debian/usr/lib/jvm" -lname '/etc/*' | while read -r link; do
        ln -sfn "$debian$(readlink "$link")" "$link"
    done
    PATH=$(echo "$debian"/usr/lib/jvm/java-17-openjdk-*/bin):$PATH
}

# Kotlin's compiler, in the one Python package that carries a current one.
fetch_kotlin() {
    once kotlin.done fetch_pip kotlin-jupyter-kernel==0.19.0.944
}

fetch_pip() {
    rm -rf "$cache/pip" && mkdir -p "$cache/pip"
    "${PYTHON:-python3}" -m pip download --no-deps --dest "$cache/pip" "$1" &&
        unpack "$cache"/pip/*.whl "$cache/pip/unpacked"
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
        unpack "$cache"/npm/react-native/android/com/facebook/react/react-native/*/*-release.aar "$react"
    fi
    local abi
    for abi in x86_64 arm64-v8a; do
        mkdir -p "$cache/jni/$abi"
        cp "$native/$abi/libexecutorch.so" "$react/jni/$abi"/lib{fbjni,c++_shared}.so "$cache/jni/$abi"
    done
}

# unpack <zip file> <folder>
unpack() {
    mkdir -p "$2" && (cd "$2" && jar --extract --file "$1")
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
    once lists.done update_lists "lists"
    for package; do once "$package.done" fetch_deb "$package"; done
}

# The machine's archives, with package lists of their own: the machine's may be old, or none.
apt_options=(-o Dir::State::lists="$cache/apt/lists" -o Dir::Cache="$cache/apt")

update_lists() {
    mkdir -p "$cache/apt/lists/partial" && apt-get "${apt_options[@]}" update
}

fetch_deb() {
    local folder=$cache/debs/$1
    rm -rf "$folder" && mkdir -p "$folder" "$debian" && cd "$folder" &&
        apt-get "${apt_options[@]}" download "$1" && dpkg -x ./*.deb "$debian"
}

# Android's build tools, with the libraries of theirs that a desktop mostly lacks.
fetch_build_tools() {
    local tools=(aapt zipalign apksigner) libraries
    fetch_debian "${tools[@]}" android-framework-res
    mapfile -t libraries < <(apt-cache "${apt_options[@]}" depends --recurse --no-recommends \
        --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "${tools[@]}" |
        grep -E '^(android-lib|libapksig|libprotobuf-lite|libzopfli|libpng16|libexpat|libbsd|libmd|p7zip)')
    fetch_debian "${libraries[@]}"
    android_libraries=$(find "$debian/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    framework=$debian/usr/share/android-framework-res/framework-res.apk
}

# The classes that a phone has, without code. Not every Debian release has the package; it is the
# same in all that have.
fetch_android_stubs() {
    android_stubs=$debian/usr/share/java/com.android.android-23.jar
    once libandroid-23-java.done fetch_from_any_release libandroid-23-java
}

fetch_from_any_release() {
    local archive release other=$cache/apt-other
    archive=$(apt-get indextargets --format '$(REPO_URI)' \
        "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" | head -1)
    for release in sid bullseye; do
        rm -rf "$other" && mkdir -p "$other/lists/partial"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $release main" >"$other/sources.list"
        local apt_options=(-o Dir::Etc::sourcelist="$other/sources.list" -o Dir::Etc::sourceparts=/dev/null
            -o Dir::State::lists="$other/lists" -o Dir::Cache="$other")
        apt-get "${apt_options[@]}" update && (fetch_deb "$1") && return
    done
    return 1
}
