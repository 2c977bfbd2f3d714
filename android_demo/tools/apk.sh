# Packs the app as far as it goes without Google's dex compiler: resources, manifest and native
# libraries, aligned and signed, but no code, so that it shows that everything fits and cannot be
# started. Expects $demo, $out, $cache and what packages.sh fetched.

apk=$out/app.apk

build_tool() {
    LD_LIBRARY_PATH=$android_libraries "$debian/usr/bin/$@"
}

# Links the resources, and compiles the class R that Kotlin sees them through to $out/resources.
link_resources() {
    local source=$demo/app/src/main versions=$demo/gradle/libs.versions.toml
    version() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$versions"; }
    echo "Linking resources"
    rm -rf "$out/resources" && mkdir -p "$out/resources"
    build_tool aapt2 compile --dir "$source/res" -o "$out/resources/compiled.zip"
    # Gradle takes the package from the build file and the manifest has none.
    sed 's/<manifest /<manifest package="cbpnet.app" /' "$source/AndroidManifest.xml" >"$out/resources/AndroidManifest.xml"
    build_tool aapt2 link -I "$framework" --manifest "$out/resources/AndroidManifest.xml" \
        --min-sdk-version "$(version minSdk)" --target-sdk-version "$(version targetSdk)" \
        --version-code 1 --version-name "$(version app)" \
        --java "$out/resources/java" -o "$out/resources/linked.apk" "$out/resources/compiled.zip"
    javac -d "$out/resources/classes" "$out"/resources/java/cbpnet/app/R.java
}

pack_apk() {
    local folder=$out/package key=$cache/debug.keystore
    echo "Packing and signing the APK"
    rm -rf "$folder" && mkdir -p "$folder/lib"
    cp -r "$cache/jni/arm64-v8a" "$folder/lib"
    cp "$out/resources/linked.apk" "$folder/unaligned.apk"
    (cd "$folder" && jar --update --no-compress --no-manifest --file unaligned.apk lib)
    build_tool zipalign -f -p 4 "$folder/unaligned.apk" "$apk"
    [ -e "$key" ] || keytool -genkeypair -keystore "$key" -storepass android -alias debug -keyalg RSA \
        -dname CN=debug -validity 10000 >/dev/null 2>&1
    java -jar "$debian/usr/share/java/apksigner.jar" sign --ks "$key" --ks-pass pass:android \
        --min-sdk-version "$(build_tool aapt2 dump badging "$apk" | sed -n "s/^sdkVersion:'\(.*\)'/\1/p")" "$apk"
}

# The app says that no picture leaves the phone: it must not be able to.
check_apk() {
    local permissions
    java -jar "$debian/usr/share/java/apksigner.jar" verify --min-sdk-version 26 "$apk"
    build_tool aapt2 dump badging "$apk" | grep -E '^(package|sdkVersion|targetSdkVersion|uses-|launchable|native)'
    permissions=$(build_tool aapt2 dump permissions "$apk" | sed -n "s/^uses-permission: name='\(.*\)'/\1/p")
    if [ "$permissions" != android.permission.CAMERA ]; then
        echo "error: the APK asks for $permissions; the camera is all that it may use" >&2
        return 1
    fi
}
