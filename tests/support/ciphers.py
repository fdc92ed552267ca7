"""XChaCha20-Poly1305, AEGIS-256 and HSalsa20 in plain Python, from their specifications, to check the library by."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

# ---- XChaCha20-Poly1305: draft-irtf-cfrg-xchacha-03, sections 2.2 and 2.3 ----

_WORD = 0xFFFFFFFF
_ROUND = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONAL = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def _quarter(words: list[int], a: int, b: int, c: int, d: int) -> None:
    for to, by, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        words[to] = (words[to] + words[by]) & _WORD
        mixed = words[turned] ^ words[to]
        words[turned] = (mixed << bits | mixed >> (32 - bits)) & _WORD


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """The subkey for the first 16 bytes of a nonce."""
    words = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    for _ in range(10):
        for places in (*_ROUND, *_DIAGONAL):
            _quarter(words, *places)
    return struct.pack("<8I", *words[:4], *words[12:])


def xchacha20(key: bytes, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """RFC 8439's cipher with the subkey, and the nonce for it."""
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


# ---- Salsa20 as NaCl's boxes use it: Bernstein, "Cryptography in NaCl", sections 5 and 10 ----

_COLUMNS = ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11))
_ROWS = ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14))


def hsalsa20(key: bytes, nonce: bytes) -> bytes:
    """32 bytes made of a key and 16 bytes."""
    sigma, keys = struct.unpack("<4I", b"expand 32-byte k"), struct.unpack("<8I", key)
    words = [sigma[0], *keys[:4], sigma[1], *struct.unpack("<4I", nonce), sigma[2], *keys[4:], sigma[3]]
    for _ in range(10):
        for a, b, c, d in (*_COLUMNS, *_ROWS):
            for to, left, right, bits in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                mixed = (words[left] + words[right]) & _WORD
                words[to] ^= (mixed << bits | mixed >> (32 - bits)) & _WORD
    return struct.pack("<8I", *words[0:16:5], *words[6:10])


# ---- AES: FIPS 197 ----


def times(left: int, right: int) -> int:
    """The product in GF(2^8), section 4.2."""
    product = 0
    while right:
        product ^= left if right & 1 else 0
        left = (left << 1) ^ (0x11B if left & 0x80 else 0)
        right >>= 1
    return product


def sbox() -> list[int]:
    """AES's substitution, from its definition: the inverse in GF(2^8), then an affine map."""
    table = []
    for value in range(256):
        inverse = next((other for other in range(256) if times(value, other) == 1), 0)
        result = 0x63
        for turn in range(5):
            result ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
        table.append(result)
    return table


_SBOX = sbox()
_TWICE = [times(value, 2) for value in range(256)]


def _xor(*blocks: bytes) -> bytes:
    result = 0
    for block in blocks:
        result ^= int.from_bytes(block, "big")
    return result.to_bytes(16, "big")


def _aes_round(block: bytes, key: bytes) -> bytes:
    moved = [_SBOX[block[(place + 4 * (place % 4)) % 16]] for place in range(16)]
    mixed = bytearray()
    for column in range(0, 16, 4):
        part = moved[column : column + 4]
        whole = part[0] ^ part[1] ^ part[2] ^ part[3]
        mixed += bytes(part[row] ^ whole ^ _TWICE[part[row] ^ part[(row + 1) % 4]] for row in range(4))
    return _xor(bytes(mixed), key)


# ---- AEGIS-256: draft-irtf-cfrg-aegis-aead, section "The AEGIS-256 Algorithm" ----

_C0 = bytes.fromhex("000101020305080d1522375990e97962")
_C1 = bytes.fromhex("db3d18556dc22ff12011314273b528dd")


class _State:
    def __init__(self, key: bytes, nonce: bytes) -> None:
        keys, nonces = (key[:16], key[16:]), (nonce[:16], nonce[16:])
        mixed = [_xor(half, other) for half, other in zip(keys, nonces, strict=True)]
        self.blocks = [*mixed, _C1, _C0, _xor(keys[0], _C0), _xor(keys[1], _C1)]
        for _ in range(4):
            for block in (*keys, *mixed):
                self.update(block)

    def update(self, block: bytes) -> None:
        before = self.blocks
        self.blocks = [_aes_round(before[index - 1], before[index]) for index in range(6)]
        self.blocks[0] = _xor(self.blocks[0], block)

    def stream(self) -> bytes:
        s = self.blocks
        both = (int.from_bytes(s[2], "big") & int.from_bytes(s[3], "big")).to_bytes(16, "big")
        return _xor(s[1], s[4], s[5], both)


def _padded(data: bytes) -> list[bytes]:
    return [data[at : at + 16].ljust(16, b"\0") for at in range(0, len(data), 16)]


def aegis256(key: bytes, nonce: bytes, message: bytes, extra: bytes) -> tuple[bytes, list[bytes]]:
    """The ciphertext with its tag of 32 bytes, and the state that its computation ends with."""
    state = _State(key, nonce)
    for block in _padded(extra):
        state.update(block)
    sealed = b""
    for block in _padded(message):
        sealed += _xor(block, state.stream())
        state.update(block)
    last = _xor(state.blocks[3], struct.pack("<QQ", 8 * len(extra), 8 * len(message)))
    for _ in range(7):
        state.update(last)
    s = state.blocks
    return sealed[: len(message)] + _xor(s[0], s[1], s[2]) + _xor(s[3], s[4], s[5]), s
