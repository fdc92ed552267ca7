"""Keys made from passwords and from other keys, each straight into its slot."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from zeroizepy import _lib
from zeroizepy._lib import lib
from zeroizepy.buffers import public_bytes
from zeroizepy.careful import careful
from zeroizepy.memory import SecureMemory
from zeroizepy.slots import lend, option_bits

from .algorithms import chosen_algorithm
from .base import HeldKey, fail_key
from .census import is_strong, note
from .derive import MEMLIMIT, OPSLIMIT, check_limits, salt_or_new, stretch_into

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from zeroizepy.values import Borrowable

    from .algorithms import Algorithm, Name
    from .base import Policy, Tier
    from .receipt import Origin

__all__ = ["MadeKey"]


class MadeKey(HeldKey):
    """A key, and the ways in which one is made; see `CryptoKey`."""

    _salt: bytes | None = None

    @classmethod
    @careful
    def from_password(
        cls,
        password: Buffer | Borrowable,
        *,
        salt: Buffer | None = None,
        opslimit: int = OPSLIMIT,
        memlimit: int = MEMLIMIT,
        length: int | None = None,
        algorithm: Name | None = None,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
    ) -> Self:
        """The key that Argon2id makes of a password, straight into its slot.

        Args:
            password: A cell (`CypherCell.from_prompt`) or secure memory, which counts as an access, or bytes-like. A
                str is refused; `CypherCell(text)` takes one.
            salt: 16 bytes, the same for the same key again: keep the new key's `salt`. None draws a random one.
            opslimit: Passes over the memory.
            memlimit: Bytes of it.
            length, algorithm: As for `generate`.
            tier, policy, ttl_sec, inherit: As for `CryptoKey`.

        Raises:
            TypeError: A password that is neither, or another wrong argument.
            ValueError: A password that is empty or has 4 GiB, a wrong salt or length, or limits that make guessing
                cheap (less than 7 MiB, or less than 35 MiB for all passes).
            MemoryError: `memlimit` bytes cannot be had.
            LockLimitError: Nothing more can be locked.

        Source: RFC 9106, version 1.3 with one lane, by libsodium, which returns through a heap block that it wipes.
        Does not reach: the working memory while this runs, which is not locked; what it holds is made from the password
        and goes back to the kernel.
        """
        chosen = chosen_algorithm(length, algorithm)
        options, ttl_ns = option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec)
        (passes, size), used_salt = check_limits(opslimit, memlimit), salt_or_new(salt)
        with SecureMemory(chosen.key_bytes, policy=policy) as memory:
            stretch_into(memory, password, used_salt, passes, size)
            key = cls._from_memory(memory, chosen, options, ttl_ns, "password")
        key._salt = used_salt
        note(key, "password")
        return key

    @classmethod
    def _from_memory(
        cls, memory: SecureMemory, algorithm: Algorithm, options: int, ttl_ns: int, origin: Origin
    ) -> Self:
        key = cls.__new__(cls)
        lend(memory, lambda view: key._set_from(view, algorithm.name, options, ttl_ns))
        key._origin = origin
        return key

    def derive(
        self,
        context: Buffer,
        length: int | None = None,
        *,
        algorithm: Name | None = None,
        tier: Tier = "packed",
        policy: Policy = None,
        ttl_sec: float | None = None,
        inherit: bool = False,
    ) -> Self:
        """Another key, which says nothing about this one or about those of other contexts; straight into its slot.

        Args:
            context: What the new key is for, not secret: the same gives the same key.
            length, algorithm: As for `generate`, but a key that is not for AES-GCM gives keys for its own algorithm
                unless another one is named. The new key's bytes rest on the context and not on these: keys for two
                algorithms want two contexts.
            tier, policy, ttl_sec, inherit: As for `CryptoKey`; the new key lives on when this one ends.

        Raises:
            TypeError, ValueError: A wrong argument.
            SecureMemoryClosed: The key is destroyed, or was while this ran.
            LockLimitError: Nothing more can be locked.

        Source: RFC 5869, HKDF-SHA256 of the key without a salt, `context` as its info.
        Does not reach: derived keys when this one is destroyed; destroy them as well.
        """
        if algorithm is None and not self._algorithm.is_aes:
            algorithm = self.algorithm
        chosen = chosen_algorithm(length, algorithm)
        size = chosen.key_bytes
        options, ttl_ns = option_bits(tier, policy, inherit), _lib.ttl_nanoseconds(ttl_sec)
        info = public_bytes(context, "context")
        with SecureMemory(size, policy=policy) as memory:
            target = memory._handle
            status = lib.zpy_derive_hkdf(self._handle, self._size, b"", 0, info, len(info), target, size)
            if status != lib.ZPY_OK:
                fail_key(status)
            key = self._from_memory(memory, chosen, options, ttl_ns, "derived")
        note(key, "parent_key", self.key_id, (ref(self), is_strong(self)))
        note(self, "derive", key.key_id, ref(key))
        return key

    @property
    def salt(self) -> bytes | None:
        """What `from_password` needs to make this key again beside the password and its limits; None for other keys."""
        return self._salt
