# Kotlin's compiler and JUnit's runner. Expects $demo, $out and what packages.sh fetched.

# The language of the app's Gradle files.
language=2.0

junit=$debian/usr/share/java/junit4.jar:$debian/usr/share/java/hamcrest.jar

# compile <part> <class path>: <part>/src/main to $out/<part>.
compile() {
    kotlinc "$1" "$demo/$1/src/main/kotlin" "$2"
}

# compile_tests <part> <class path> <friend>: <part>/src/test, which sees the internals of <friend>.
compile_tests() {
    kotlinc "$1-test" "$demo/$1/src/test/kotlin" "$junit:$2" -Xfriend-paths="$out/$3"
}

# kotlinc <name> <sources> <class path> [options]: classes to $out/<name>; a warning is an error.
kotlinc() {
    local name=$1 sources=$2 classpath=$3
    shift 3
    echo "Compiling $name"
    rm -rf "${out:?}/$name"
    java -Xmx1g -XX:TieredStopAtLevel=1 -cp "$kotlin/*" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler \
        -no-stdlib -no-reflect -jvm-target 17 -Werror \
        -language-version "$language" -api-version "$language" -Xsuppress-version-warnings \
        -cp "$(stdlib):$classpath" -d "$out/$name" "$@" "$sources"
}

# run_tests <part> <class path> [java options]: the classes of all *Test.kt.
run_tests() {
    local part=$1 classpath=$2 classes
    shift 2
    mapfile -t classes < <(cd "$demo/$part/src/test/kotlin" && find . -name '*Test.kt' |
        sed 's|^\./||; s|\.kt$||; s|/|.|g' | sort)
    java "$@" -cp "$out/$part-test:$junit:$(stdlib):$classpath" org.junit.runner.JUnitCore "${classes[@]}"
}

stdlib() {
    ls "$kotlin"/kotlin-stdlib-*.jar
}
