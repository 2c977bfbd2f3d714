#!/usr/bin/env bash
# Compiles and tests the Android demo without Android Studio, a device or Gradle.
#
#   android_demo/tools/check.sh          everything
#   android_demo/tools/check.sh core     compile and test core/ only
#   android_demo/tools/check.sh app      compile and test app/, pack the APK; core/ comes before
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
demo=$(dirname "$tools")
cache=$(realpath -m "${CBPNET_ANDROID_CACHE:-$(dirname "$demo")/build/android}")
out=$cache/out
mkdir -p "$out"
for part in packages kotlin desktop apk; do source "$tools/$part.sh"; done

check_core() {
    fetch_kotlin
    fetch_debian junit4 libhamcrest-java
    compile core ""
    compile_tests core "$out/core" core
    run_tests core "$out/core"
}

# The Python host writes what it learns; the Kotlin host has to learn the same in ExecuTorch's
# Android library, and each reads the other's state.
check_conformance() {
    local classpath python=${PYTHON:-python3} python_side=$demo/conformance
    fetch_executorch
    compile executorch "$out/core:$executorch_classes"
    desktop_library "$cache"/jni/x86_64/*.so
    classpath=$out/core:$out/executorch:$desktop/classes:$executorch_classes
    compile_tests conformance "$classpath" core
    rm -rf "$out/vectors" "$out/flow"
    if [ -n "${CBPNET_VECTORS-}" ]; then
        cp -R "$CBPNET_VECTORS" "$out/vectors"  # the Kotlin host writes into it
    else
        echo "Exporting small bundles, and learning with the Python host"
        "$python" "$python_side/write_vectors.py" "$out/vectors"
    fi
    prepare_flow
    LD_LIBRARY_PATH=$desktop/lib run_tests conformance "$classpath" -Xmx512m \
        -Dcbpnet.vectors="$out/vectors" -Dcbpnet.flow="$out/flow"
    "$python" "$python_side/check_states.py" "$out/vectors"
    if [ -e "$out/flow" ]; then "$python" "$python_side/flow.py" compare "$out/flow"; fi
}

# CBPNET_FLOW="BUNDLE [--cifar100 PATH]" plays the day with the app with another bundle.
prepare_flow() {
    local flow=${CBPNET_FLOW:-$(dirname "$demo")/demo_output/digits.pte}
    if [ -e "${flow%% *}" ]; then
        # shellcheck disable=SC2086
        "$python" "$python_side/flow.py" prepare "$out/flow" $flow
    else
        echo "The day with the app is left out: make demo writes its bundle, ${flow%% *}"
    fi
}

check_app() {
    local classpath
    fetch_build_tools
    fetch_android_stubs
    link_resources
    classpath=$out/core:$out/executorch:$executorch_classes:$out/resources/classes:$android_stubs
    compile app "$classpath"
    compile_tests app "$out/app:$classpath" app
    run_tests app "$out/app:$classpath"
    pack_apk
    check_apk
}

fetch_jdk
# One after the other and not joined by &&, which would hide a failure inside of them.
case ${1-all} in
    core)
        check_core
        ;;
    app)
        fetch_kotlin
        fetch_debian junit4 libhamcrest-java
        fetch_executorch
        check_app
        ;;
    all)
        check_core
        check_conformance
        check_app
        ;;
    *)
        echo "usage: check.sh [core|app]" >&2
        exit 2
        ;;
esac
