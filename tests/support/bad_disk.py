"""A disk image in which chosen sectors fail: a FUSE file system of one file, which a loop device can lie on.

Run as a program: `python bad_disk.py IMAGE FILE` mounts on FILE what reads and writes IMAGE, prints a line, and then
takes lines "read START STOP" or "write START STOP" on its standard input: from then on such requests that touch bytes
[START, STOP) fail with EIO. Each is answered with a line. At the end of its input the mount is gone.

Device mapper's error target does the same for reads and writes together, where the kernel has it; the one that this was
written on has not.

Source: linux/fuse.h of Linux 6.1, the structures of protocol 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import sys

MAX_WRITE = 1 << 20

_HEAD = struct.Struct("=IIQQIIIHH")
_ANSWER = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHH32x")
_ATTR_OUT = struct.Struct("=QIIQQQQQQIIIIIIIIII")
_OPEN_OUT = struct.Struct("=QII")
_IO_IN = struct.Struct("=QQIIQII")
_WRITE_OUT = struct.Struct("=II")

_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _INIT = 3, 4, 14, 15, 16, 26
_NOTHING_TO_DO = (18, 20, 25, 34)  # RELEASE, FSYNC, FLUSH, ACCESS
_WITHOUT_ANSWER = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
_FOPEN_DIRECT_IO = 1
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_MNT_DETACH = 2

Fault = tuple[str, int, int]


class Server:
    """Answers the kernel's requests for the one file."""

    def __init__(self, image: int, device: int) -> None:
        self.image = image
        self.device = device
        self.faults: list[Fault] = []

    def answer_one(self) -> bool:
        """Take one request and answer it. False once the mount is gone."""
        try:
            request = os.read(self.device, MAX_WRITE + 65_536)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        _, operation, unique, *_ = _HEAD.unpack_from(request)
        if operation in _WITHOUT_ANSWER:
            return True
        try:
            number, data = 0, self._carry_out(operation, request[_HEAD.size :])
        except OSError as error:
            number, data = error.errno or errno.EIO, b""
        os.write(self.device, _ANSWER.pack(_ANSWER.size + len(data), -number, unique) + data)
        return True

    def _carry_out(self, operation: int, body: bytes) -> bytes:
        if operation == _INIT:
            major, minor, ahead, flags = _INIT_IN.unpack_from(body)
            flags &= _BIG_WRITES | _MAX_PAGES
            return _INIT_OUT.pack(major, min(minor, 31), ahead, flags, 16, 12, MAX_WRITE, 1, MAX_WRITE >> 12, 0)
        if operation in (_GETATTR, _SETATTR):
            status = os.fstat(self.image)
            times = (int(status.st_atime), int(status.st_mtime), int(status.st_ctime), 0, 0, 0)
            size, blocks = status.st_size, status.st_size // 512
            return _ATTR_OUT.pack(1, 0, 0, 1, size, blocks, *times, 0o100600, 1, 0, 0, 0, 4096, 0)
        if operation == _OPEN:
            return _OPEN_OUT.pack(0, _FOPEN_DIRECT_IO, 0)
        if operation in (_READ, _WRITE):
            return self._transfer(operation, body)
        if operation in _NOTHING_TO_DO:
            return b""
        raise OSError(errno.ENOSYS, "not needed by a loop device")

    def _transfer(self, operation: int, body: bytes) -> bytes:
        _, offset, size, *_ = _IO_IN.unpack_from(body)
        name = "read" if operation == _READ else "write"
        if any(kind == name and start < offset + size and offset < stop for kind, start, stop in self.faults):
            raise OSError(errno.EIO, "a bad sector")
        if operation == _READ:
            return os.pread(self.image, size, offset)
        return _WRITE_OUT.pack(os.pwrite(self.image, body[_IO_IN.size : _IO_IN.size + size], offset), 0)


def _say(word: str) -> None:
    os.write(1, f"{word}\n".encode("ascii"))


def serve(image: str, point: str) -> None:
    """Mount, answer until the standard input ends, unmount."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=100600,user_id=0,group_id=0"
    if libc.mount(b"bad_disk", os.fsencode(point), b"fuse", 0, options.encode()) != 0:
        _say(f"refused: {os.strerror(ctypes.get_errno())}")
        return
    server = Server(os.open(image, os.O_RDWR), device)
    _say("mounted")
    try:
        while True:
            ready, _, _ = select.select([device, sys.stdin], [], [])
            if device in ready and not server.answer_one():
                return
            if sys.stdin in ready:
                words = os.read(0, 4096).decode("ascii").split()
                if not words:
                    return
                server.faults.append((words[0], int(words[1]), int(words[2])))
                _say("taken")
    finally:
        libc.umount2(os.fsencode(point), _MNT_DETACH)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
