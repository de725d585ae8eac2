"""A disk that fails when it is told so: tests/fault/shim.c, preloaded into larder."""

import mmap
import struct

from .shims import preloaded

PAGE = 4096
CALLS, AT, CODE, LASTING, FAILED, COLD, MEMORY, DIRECTORY = 0, 8, 16, 20, 24, 32, 40, 48  # offsets of struct fault_control


class Faults:
    """The page shared with a larder that was started with `env=faults.env`; files below `directory` are meant."""

    def __init__(self, file, directory):
        file.write_bytes(bytes(PAGE))
        self.env = {"FAULT_CONTROL": str(file), **preloaded("fault")}
        with open(file, "r+b") as stream:
            self.page = mmap.mmap(stream.fileno(), PAGE)
        text = str(directory).encode()
        self.page[DIRECTORY:DIRECTORY + len(text)] = text

    def fail(self, code, at=1, lasting=True):
        """From the `at`-th call from now on (or it alone)."""
        self.well()
        self.page[CALLS:CALLS + 8] = bytes(8)
        self.page[FAILED:FAILED + 8] = bytes(8)
        self.page[CODE:CODE + 4] = struct.pack("<I", code)
        self.page[LASTING:LASTING + 4] = struct.pack("<I", int(lasting))
        self.page[AT:AT + 8] = struct.pack("<Q", at)

    def well(self):
        self.page[AT:AT + 8] = bytes(8)

    def cold(self, is_cold=True):
        """Whatever is asked whether it is in memory is not, from now on."""
        self.page[COLD:COLD + 4] = struct.pack("<I", int(is_cold))

    def memory(self, size):
        """What a larder that starts now finds the machine to have."""
        self.page[MEMORY:MEMORY + 8] = struct.pack("<Q", size)

    @property
    def failed(self):
        return struct.unpack("<Q", self.page[FAILED:FAILED + 8])[0]
