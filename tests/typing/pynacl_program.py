"""A program for PyNaCl, for type checkers; tests/test_nacl_typing.py has mypy read it for PyNaCl and for zeroizepy."""

from __future__ import annotations

import nacl.bindings
import nacl.encoding
import nacl.exceptions
import nacl.hash
import nacl.hashlib
import nacl.public
import nacl.pwhash
import nacl.secret
import nacl.signing
import nacl.utils
from nacl.encoding import Base64Encoder, Encoder, HexEncoder, RawEncoder
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import Box, PrivateKey, PublicKey, SealedBox
from nacl.pwhash import argon2i, argon2id, scrypt
from nacl.signing import SignedMessage, SigningKey, VerifyKey
from typing_extensions import reveal_type

KEY: bytes = nacl.utils.random(nacl.secret.SecretBox.KEY_SIZE)


def sealed_note(text: str, encoder: Encoder = HexEncoder) -> bytes:
    """Encrypt and decrypt with one key."""
    box = nacl.secret.SecretBox(KEY)
    encrypted = box.encrypt(text.encode(), nacl.utils.random(box.NONCE_SIZE), encoder=encoder)
    reveal_type(encrypted)
    reveal_type(encrypted.nonce)
    reveal_type(encrypted.ciphertext)
    try:
        plaintext = box.decrypt(encrypted, encoder=encoder)
    except CryptoError as error:
        raise nacl.exceptions.ValueError(str(error)) from error
    reveal_type(plaintext)
    aead = nacl.secret.Aead(KEY, encoder=RawEncoder)
    reveal_type(aead.encrypt(plaintext, b"header", None, encoder=Base64Encoder))
    reveal_type(aead.decrypt(encrypted, b"header"))
    reveal_type(bytes(aead))
    reveal_type(aead.encode(HexEncoder))
    return plaintext


class Peer:
    """Has a key, and speaks to others."""

    def __init__(self, seed: bytes | None = None) -> None:
        self.key = PrivateKey.generate() if seed is None else PrivateKey.from_seed(seed, encoder=RawEncoder)
        reveal_type(self.key)

    @property
    def name(self) -> PublicKey:
        """Its public key."""
        return self.key.public_key

    def write(self, other: PublicKey, message: bytes) -> bytes:
        """A message that only the other can read."""
        box = Box(self.key, other)
        reveal_type(box.shared_key())
        reveal_type(Box.decode(box.encode()))
        reveal_type(box.encrypt(message))
        return box.encrypt(message)

    def read(self, other: PublicKey, sealed: bytes) -> bytes:
        """The message."""
        reveal_type(Box(self.key, other).decrypt(sealed, None, RawEncoder))
        return Box(self.key, other).decrypt(sealed)

    def drop_box(self, message: bytes) -> bytes:
        """From nobody in particular."""
        to, mine = SealedBox(self.key.public_key), SealedBox(self.key)
        reveal_type(to.encrypt(message, encoder=HexEncoder))
        reveal_type(mine.decrypt(to.encrypt(message)))
        return to.encrypt(message)


def signatures(message: bytes) -> VerifyKey:
    """Sign and verify."""
    key = SigningKey.generate()
    reveal_type(key)
    reveal_type(SigningKey(bytes(key)))
    signed: SignedMessage = key.sign(message)
    reveal_type(signed.signature)
    reveal_type(signed.message)
    reveal_type(key.sign(message, encoder=HexEncoder))
    try:
        reveal_type(key.verify_key.verify(signed))
        reveal_type(key.verify_key.verify(signed.message, signed.signature, encoder=RawEncoder))
    except BadSignatureError as error:
        reveal_type(error)
    reveal_type(key.to_curve25519_private_key())
    reveal_type(key.verify_key.to_curve25519_public_key())
    reveal_type(key.verify_key == VerifyKey(key.verify_key.encode(HexEncoder), encoder=HexEncoder))
    return key.verify_key


def passwords(password: bytes) -> bool:
    """Keys and records from passwords."""
    salt = nacl.utils.random(argon2id.SALTBYTES)
    reveal_type(nacl.pwhash.argon2id.kdf(32, password, salt, opslimit=argon2id.OPSLIMIT_MIN, memlimit=8192))
    reveal_type(argon2i.kdf(32, password, salt, encoder=HexEncoder))
    reveal_type(scrypt.kdf(32, password, nacl.utils.random(scrypt.SALTBYTES)))
    reveal_type(nacl.pwhash.str(password))
    reveal_type(nacl.pwhash.MEMLIMIT_INTERACTIVE)
    return nacl.pwhash.verify(nacl.pwhash.str(password), password)


def hashes(message: bytes) -> list[bytes]:
    """Digests."""
    reveal_type(nacl.hash.sha256(message))
    reveal_type(nacl.hash.blake2b(message, digest_size=16, key=b"k", encoder=RawEncoder))
    state = nacl.hashlib.blake2b(digest_size=32)
    reveal_type(state)
    state.update(message)
    reveal_type(state.digest())
    reveal_type(state.hexdigest())
    reveal_type(nacl.hashlib.scrypt(message, b"salt", n=2, r=8, p=1))
    return [nacl.hash.generichash(message), nacl.hash.siphash24(message, bytes(16)), nacl.hash.siphashx24(message)]


def below(message: bytes) -> bytes:
    """The bindings, as programs use them."""
    public_key, secret_key = nacl.bindings.crypto_sign_keypair()
    reveal_type(nacl.bindings.crypto_sign_keypair())
    reveal_type(nacl.bindings.crypto_sign(message, secret_key))
    reveal_type(nacl.bindings.crypto_sign_open(message, public_key))
    reveal_type(nacl.bindings.crypto_scalarmult(bytes(32), bytes(32)))
    reveal_type(nacl.bindings.crypto_box_beforenm(bytes(32), bytes(32)))
    reveal_type(nacl.bindings.crypto_kx_client_session_keys(bytes(32), bytes(32), bytes(32)))
    reveal_type(nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(message, None, bytes(24), bytes(32)))
    reveal_type(nacl.bindings.crypto_core_ed25519_add(bytes(32), bytes(32)))
    state = nacl.bindings.crypto_secretstream_xchacha20poly1305_state()
    reveal_type(nacl.bindings.crypto_secretstream_xchacha20poly1305_init_push(state, bytes(32)))
    reveal_type(nacl.bindings.crypto_secretstream_xchacha20poly1305_push(state, message))
    reveal_type(nacl.bindings.sodium_memcmp(message, message))
    reveal_type(nacl.bindings.randombytes(32))
    reveal_type(nacl.bindings.crypto_box_SECRETKEYBYTES)
    return nacl.bindings.crypto_hash_sha512(message)


def nothing_is_any() -> None:
    """Each of these is an error in both."""
    nacl.secret.SecretBox()  # expect: call-arg
    nacl.secret.SecretBox("text")  # expect: arg-type
    nacl.secret.SecretBox(KEY).encrypt("text")  # expect: arg-type
    nacl.public.PrivateKey(7)  # expect: arg-type
    nacl.signing.SigningKey.generate().sign("text")  # expect: arg-type
    nacl.utils.random("7")  # expect: arg-type
    nacl.secret.SecretBox(KEY, encoder=7)  # expect: arg-type
    nacl.secret.nothing()  # expect: attr-defined
