"""Encrypted files of any size: C2SP chunked encryption, Cobblestone-256 and Cobblestone-128."""

from __future__ import annotations

from .files import decrypt_file, encrypt_file
from .reader import EncryptedReader
from .writer import EncryptedWriter

__all__ = ["EncryptedReader", "EncryptedWriter", "decrypt_file", "encrypt_file"]
