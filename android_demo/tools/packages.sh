# Brings packages from pip's and apt's registries, as configured on this machine, into the
# cache. Nothing is installed on the system. Expects $cache.

debian=$cache/debian
kotlin=$cache/kotlin/run_kotlin_kernel/jars
python=${PYTHON:-python3}

# The check is optional, so a machine that cannot bring a package skips it.
skip() {
    echo "android-test: skipped, $1 cannot be installed here" >&2
    exit 0
}

# Kotlin's compiler, in the one Python package that carries a current one.
fetch_kotlin() {
    [ -e "$kotlin" ] && return
    "$python" -m pip download -qq --no-deps --dest "$cache/pip" \
        kotlin-jupyter-kernel==0.19.0.944 2>"$cache/pip.log" || skip "the Python package kotlin-jupyter-kernel"
    unzip -qo "$cache"/pip/kotlin_jupyter_kernel-*.whl -d "$cache/kotlin.part"
    mv "$cache/kotlin.part" "$cache/kotlin"
}

fetch_debian() {
    local package
    for package; do
        [ -e "$cache/debs/$package" ] && continue
        mkdir -p "$cache/debs" "$debian"
        (cd "$cache/debs" && apt-get -qq download "$package" 2>"$cache/apt.log") || skip "the Debian package $package"
        dpkg -x "$cache/debs/$package"_*.deb "$debian"
        touch "$cache/debs/$package"
    done
}
