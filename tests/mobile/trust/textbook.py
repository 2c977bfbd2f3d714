"""Ed25519 as section 6 of RFC 8032 has it, and what Minisign signs with it: to verify only."""

import base64
import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1

Point = tuple[int, int, int, int]


def _sum(a: Point, b: Point) -> Point:
    minus, plus = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    c, d = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = plus - minus, d - c, d + c, plus + minus
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number: int, point: Point) -> Point:
    product = (0, 1, 1, 0)
    while number:
        if number & 1:
            product = _sum(product, point)
        point, number = _sum(point, point), number >> 1
    return product


def _x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P)
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    assert (x * x - square) % P == 0
    return P - x if x & 1 != sign else x


def _point(encoded: bytes) -> Point:
    number = int.from_bytes(encoded, "little")
    y = number & (1 << 255) - 1
    x = _x(y, number >> 255)
    return x, y, 1, x * y % P


_Y = 4 * pow(5, -1, P) % P
_BASE = (_x(_Y, 0), _Y, 1, _x(_Y, 0) * _Y % P)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of 64 bytes is right."""
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    s = int.from_bytes(signature[32:], "little")
    left = _times(s, _BASE)
    right = _sum(_point(signature[:32]), _times(challenge, _point(public)))
    return s < ORDER and not (
        (left[0] * right[2] - right[0] * left[2]) % P
        or (left[1] * right[2] - right[1] * left[2]) % P
    )


def is_signed_as_minisign_does(content: bytes, minisig: bytes, public: str) -> bool:
    """Whether a signature file is right, over the content's BLAKE2b-512 and the trusted comment."""
    key = base64.b64decode(public)
    _, line, comment, whole = minisig.splitlines()
    found, comment = base64.b64decode(line), comment.removeprefix(b"trusted comment: ")
    return (
        key[:2] == b"Ed"
        and found[:10] == b"ED" + key[2:10]
        and is_signed(key[10:], hashlib.blake2b(content).digest(), found[10:])
        and is_signed(key[10:], found[10:] + comment, base64.b64decode(whole))
    )
