# ExecuTorch's Android library on the desktop's virtual machine, as it is: only what it expects
# of Android around it is made here. Expects $tools, $cache and $out.

desktop=$out/desktop

# desktop_library <libraries...>: Android's x86-64 libraries, beside a C library for them.
desktop_library() {
    local jdk
    [ "$(uname -m)" = x86_64 ] || skip "ExecuTorch's Android library for $(uname -m)"
    command -v gcc >/dev/null || skip "gcc"
    jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
    echo "Putting Android's library onto the desktop"
    rm -rf "$desktop" && mkdir -p "$desktop/lib" "$desktop/classes"
    cp "$@" "$desktop/lib"
    forwarders "$@" >"$desktop/forwarders.S"
    echo 'LIBC { *; }; LIBC_N { };' >"$desktop/versions"
    gcc -shared -fPIC -O1 -Wall -Werror -fno-builtin -Wl,-soname,libc.so \
        -Wl,--version-script="$desktop/versions" -I"$jdk/include" -I"$jdk/include/linux" \
        -o "$desktop/lib/libc.so" "$tools/desktop/bionic.c" "$desktop/forwarders.S" -ldl -lm
    for name in m dl log android; do ln -s libc.so "$desktop/lib/lib$name.so"; done
    find "$tools/desktop/java" -name '*.java' -print0 |
        xargs -0 javac -Xlint:all -Werror -d "$desktop/classes"
}

# Assembler that exports every other name@LIBC that the libraries ask for as a jump through a
# table, which bionic.c fills with the desktop's functions of these names.
forwarders() {
    local names
    names=$(nm -D --undefined-only "$@" | sed -n 's/.* \([^ ]*\)@LIBC$/\1/p' | sort -u |
        grep -vxF "$(grep -oP 'EXPORT\(\K\w+' "$tools/desktop/bionic.c")")
    echo '    .text'
    awk '{ printf "forward_%d: jmp *forwarded+%d(%%rip)\n.globl forward_%d\n.symver forward_%d, %s@LIBC\n", NR, 8 * (NR - 1), NR, NR, $1 }' <<<"$names"
    echo '    .section .rodata'
    awk '{ printf "name_%d: .asciz \"%s\"\n", NR, $1 }' <<<"$names"
    echo '    .section .data.rel.ro,"aw"'
    echo '    .globl forwarded_names, forwarded'
    echo '    .hidden forwarded_names, forwarded'
    echo 'forwarded_names:'
    awk '{ printf "    .quad name_%d\n", NR } END { print "    .quad 0" }' <<<"$names"
    echo "    .comm forwarded, $((8 * $(wc -l <<<"$names"))), 8"
    echo '    .section .note.GNU-stack,"",@progbits'
}
