"""What Minisign 0.11 wrote: keys, and signatures of a file of eight bytes."""

CONTENT = b"a bundle"

PUBLIC = "RWQlSliVfwPJtUPoglV45e/OvSisvQRegfcy8RP6PJBPB1rnbRgF8hmF"
SECRET_FILE = b"""\
untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJUpYlX8DybWj8kP9nrOW9gIDO/\
mmyOf9JvMIAGZVuMpXBfG/dm6SskPoglV45e/OvSisvQRegfcy8RP6PJBPB1rnbRgF8hmFAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
AAAAAAAAAAA=
"""
PUBLIC_FILE = f"untrusted comment: minisign public key B5C9037F95584A25\n{PUBLIC}\n".encode()
SIGNATURE = b"""\
untrusted comment: signature from minisign secret key
RUQlSliVfwPJteuUwqt3C4Jb58SCvyc07kRbndq4GwhzsVeebbuulDWtFAOTcnN7X1nS1eHoUXiIJL7WA77xS6lje5b8/dyI6wA=
trusted comment: timestamp:1795785283\tfile:bundle\thashed
MdcWotdYwwYqYGjFm2wOOrtV7FxQwWTMtWBrfV79Ie5IZE4/UhRABB17zYrhLDLqX+l/LXa3/KBFikMmRvCxBg==
"""
OLD_SIGNATURE = b"""\
untrusted comment: signature from minisign secret key
RWQlSliVfwPJtbj8iyp9OQN1YQzrSNvBvADSnPRT0e6X3JNUHCta1ztoHL8R6abd3b7xxivBVqsriPb5TNrkJ9xqkUqbZXYBiA0=
trusted comment: timestamp:1795785283\tfile:bundle
jHQapxmGwP1LDppbeTydisQcI9mzJa/INUn1zjp2nRSGnQFYfcT8Jo58xZ3m+0DrJIf7PhYJtgw4UoOCJGQ3Bg==
"""
OTHER_PUBLIC = "RWQC/XemneQta4ByA3NcfnP/X919ebqtkg4coaphu3n7XwYPl81KuAyw"
