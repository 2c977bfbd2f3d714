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
source "$tools/packages.sh"
source "$tools/kotlin.sh"

fetch_kotlin
fetch_debian junit4 libhamcrest-java
junit=$debian/usr/share/java/junit4.jar:$debian/usr/share/java/hamcrest.jar

compile core "$demo/core/src/main/kotlin" ""
compile core-test "$demo/core/src/test/kotlin" "$out/core:$junit" -Xfriend-paths="$out/core"
run_tests "$demo/core/src/test/kotlin" "$out/core-test:$out/core:$junit"
