package cbpnet.core

/** What Minisign 0.11 and `cbpnet-mobile sign` wrote of the eight bytes "a bundle", with one key. */
internal object SignedFile {
    val key = MinisignKey("RWQlSliVfwPJtUPoglV45e/OvSisvQRegfcy8RP6PJBPB1rnbRgF8hmF")

    val ofMinisign = """
        untrusted comment: signature from minisign secret key
        RUQlSliVfwPJteuUwqt3C4Jb58SCvyc07kRbndq4GwhzsVeebbuulDWtFAOTcnN7X1nS1eHoUXiIJL7WA77xS6lje5b8/dyI6wA=
        trusted comment: timestamp:1795785283${'\t'}file:bundle${'\t'}hashed
        MdcWotdYwwYqYGjFm2wOOrtV7FxQwWTMtWBrfV79Ie5IZE4/UhRABB17zYrhLDLqX+l/LXa3/KBFikMmRvCxBg==

    """.trimIndent()

    val ofOurs = """
        untrusted comment: signature from minisign secret key
        RUQlSliVfwPJteuUwqt3C4Jb58SCvyc07kRbndq4GwhzsVeebbuulDWtFAOTcnN7X1nS1eHoUXiIJL7WA77xS6lje5b8/dyI6wA=
        trusted comment: timestamp:1795786111${'\t'}file:pets.pte${'\t'}hashed${'\t'}key:${key.text}
        8uLN5AdDxPJbKMqL9gPLhduNUU6mvGymE4dQKJ2MD7dx52RFclbP7N+BCDUDRV+KRn+hebFTcUz1JCZQ+UQMBA==

    """.trimIndent()
}
