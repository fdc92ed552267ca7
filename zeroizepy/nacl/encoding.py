"""Text forms of keys and messages, by PyNaCl's names."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from binascii import a2b_base64, hexlify, unhexlify

# typing.TYPE_CHECKING without the milliseconds that importing typing takes; type checkers know the name. The base64
# module takes one, too, and comes in when it is used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import SupportsBytes

__all__ = [
    "Base16Encoder",
    "Base32Encoder",
    "Base64Encoder",
    "Encodable",
    "Encoder",
    "HexEncoder",
    "RawEncoder",
    "URLSafeBase64Encoder",
]


def _decoded(name: str, data: bytes) -> bytes:
    """Decode by a function of base64.

    Its errors are raised anew: they carry its frames, and some the whole text, which may be that of a secret.
    """
    import base64

    try:
        decoded: bytes = getattr(base64, name)(data)
    except (TypeError, ValueError) as error:
        kind, told = type(error), str(error)
    else:
        return decoded
    raise kind(told)


class _Encoder(metaclass=ABCMeta):
    """A text form: decoding what was encoded gives the same bytes."""

    @staticmethod
    @abstractmethod
    def encode(data: bytes) -> bytes:
        """Data in this form."""

    @staticmethod
    @abstractmethod
    def decode(data: bytes) -> bytes:
        """What was encoded."""


Encoder = type[_Encoder]


class RawEncoder(_Encoder):
    """Bytes as they are."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """`data` itself."""
        return data

    @staticmethod
    def decode(data: bytes) -> bytes:
        """`data` itself."""
        return data


class HexEncoder(_Encoder):
    """Hexadecimal, in small letters."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """Two digits for each byte."""
        return hexlify(data)

    @staticmethod
    def decode(data: bytes) -> bytes:
        """Raises binascii.Error, a ValueError, for what is not hexadecimal; either case will do."""
        return unhexlify(data)


class Base16Encoder(_Encoder):
    """Hexadecimal, in capitals (RFC 4648, section 8)."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """Two digits for each byte."""
        return hexlify(data).upper()

    @staticmethod
    def decode(data: bytes) -> bytes:
        """Raises binascii.Error, a ValueError, for what is not hexadecimal in capitals."""
        return _decoded("b16decode", data)


class Base32Encoder(_Encoder):
    """Base32 (RFC 4648, section 6)."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """Eight characters for each five bytes, filled up with "="."""
        from base64 import b32encode

        return b32encode(data)

    @staticmethod
    def decode(data: bytes) -> bytes:
        """Raises binascii.Error, a ValueError, for what is no base32."""
        return _decoded("b32decode", data)


class Base64Encoder(_Encoder):
    """Base64 (RFC 4648, section 4)."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """Four characters for each three bytes, filled up with "="."""
        from base64 import b64encode

        return b64encode(data)

    @staticmethod
    def decode(data: bytes) -> bytes:
        """Raises binascii.Error, a ValueError, for wrong padding; characters of no base64 are passed over."""
        return a2b_base64(data)


class URLSafeBase64Encoder(_Encoder):
    """Base64 with "-" and "_" (RFC 4648, section 5)."""

    @staticmethod
    def encode(data: bytes) -> bytes:
        """Four characters for each three bytes, filled up with "="."""
        from base64 import urlsafe_b64encode

        return urlsafe_b64encode(data)

    @staticmethod
    def decode(data: bytes) -> bytes:
        """As `Base64Encoder.decode`."""
        return _decoded("urlsafe_b64decode", data)


class Encodable:
    """Has a text form in each encoder."""

    __slots__ = ()

    def encode(self: SupportsBytes, encoder: Encoder = RawEncoder) -> bytes:
        """`bytes(self)`, encoded; of a key that is an export, see `zeroizepy.nacl.forbid_export`."""
        return encoder.encode(bytes(self))
