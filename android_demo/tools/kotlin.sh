# Kotlin's compiler and JUnit's runner. Expects $kotlin and $out.

# The oldest language that the app's Gradle files may be set to.
language=2.0

# compile <name> <source folder> <class path> [options]: classes to $out/<name>, a warning is an error.
compile() {
    local name=$1 sources=$2 classpath=$3
    shift 3
    echo "Compiling $name"
    rm -rf "${out:?}/$name"
    java -Xmx1g -XX:TieredStopAtLevel=1 -cp "$kotlin/*" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler \
        -no-stdlib -no-reflect -jvm-target 17 -Werror \
        -language-version $language -api-version $language -Xsuppress-version-warnings \
        -cp "$(ls "$kotlin"/kotlin-stdlib-*.jar):$classpath" -d "$out/$name" "$@" "$sources"
}

# run_tests <source folder> <class path> [java options]: the classes of all *Test.kt.
run_tests() {
    local sources=$1 classpath=$2 classes
    shift 2
    mapfile -t classes < <(cd "$sources" && find . -name '*Test.kt' | sed 's|^\./||; s|\.kt$||; s|/|.|g' | sort)
    java "$@" -cp "$classpath:$(ls "$kotlin"/kotlin-stdlib-*.jar)" org.junit.runner.JUnitCore "${classes[@]}"
}
