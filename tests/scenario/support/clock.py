"""Clocks that go as a test says: tests/fault/clock_shim.c, preloaded into larder."""

import mmap
import struct

from .shims import preloaded


class Clock:
    """The page shared with a larder that was started with `env=clock.env`."""

    def __init__(self, file):
        file.write_bytes(bytes(mmap.PAGESIZE))
        self.env = {"CLOCK_CONTROL": str(file), **preloaded("clock")}
        with file.open("r+b") as stream:
            self.page = mmap.mmap(stream.fileno(), mmap.PAGESIZE)
        self.offset_s = 0
        self.passed_ms = 0

    def jump(self, offset_s):
        """From now on the wall clock is so far from the machine's."""
        self.offset_s = offset_s
        self.page[0:8] = struct.pack("=q", offset_s)

    def let_pass(self, ms):
        """So much more time has passed, on the clock that timeouts are of."""
        self.passed_ms += ms
        self.page[8:16] = struct.pack("=q", self.passed_ms)
