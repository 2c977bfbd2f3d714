#!/usr/bin/env bash
# Compiles and tests the Android demo without Android Studio, a device or Gradle.
#
#   android_demo/tools/check.sh          everything
#   android_demo/tools/check.sh core     compile and test core/ only
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
demo=$(dirname "$tools")
cache=${CBPNET_ANDROID_CACHE:-$(dirname "$demo")/build/android}
out=$cache/out
mkdir -p "$out"
for part in packages kotlin desktop apk; do source "$tools/$part.sh"; done

check_core() {
    fetch_kotlin
    fetch_debian junit4 libhamcrest-java
    compile core ""
    compile_tests core "$out/core"
    run_tests core "$out/core"
}

check_executorch() {
    fetch_executorch
    compile executorch "$out/core:$executorch_classes"
    desktop_library "$cache"/jni/x86_64/*.so
}

check_app() {
    fetch_build_tools
    fetch_android_stubs
    link_resources
    compile app "$out/core:$out/executorch:$executorch_classes:$out/resources/classes:$android_stubs"
    pack_apk
    check_apk
}

case ${1-all} in
    core) check_core ;;
    app) fetch_kotlin && fetch_executorch && check_app ;;
    all) check_core && check_executorch && check_app ;;
    *) echo "usage: check.sh [core|app]" >&2 && exit 2 ;;
esac
