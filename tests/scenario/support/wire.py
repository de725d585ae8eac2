"""HTTP/1 on a socket, read strictly: whatever is not exactly right raises Malformed.

Both sides of the tests read with this, so every byte that larder sends is checked on every test, whatever the test is about.
"""

import re
import socket
import time

TIMEOUT = 20.0  # seconds until a wait counts as a failure; nothing in a passing test takes this long

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Malformed(AssertionError):
    """The other side sent what HTTP does not allow."""


class Truncated(Malformed):
    """The connection ended inside a message."""


class Closed(Exception):
    """The connection ended where a message could have begun."""


def wait_until(condition, what="the condition", timeout=TIMEOUT):
    """Polls until condition() is true, and returns what it gave."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(0.005)


class Fields(list):
    """Header or trailer fields in order, as (name, value) text pairs."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name):
        return any(key.lower() == name.lower() for key, _ in self)

    def members(self, name):
        """The comma list of a field without quoted commas, in lower case."""
        return [member.strip().lower() for member in self.get(name, "").split(",") if member.strip()]


class Reader:
    """Bytes of one socket. `record` keeps what was taken until it is read by take_record()."""

    def __init__(self, sock):
        self.sock = sock
        self.data = bytearray()
        self.ended = False
        self.recorded = bytearray()

    def fill(self):
        """Waits for more bytes; False at the end of the connection."""
        if self.ended:
            return False
        try:
            piece = self.sock.recv(262144)
        except socket.timeout:
            raise AssertionError(f"nothing arrived for {self.sock.gettimeout()} s; have {bytes(self.data[:200])!r}") from None
        except ConnectionResetError:
            piece = b""
        if not piece:
            self.ended = True
            return False
        self.data += piece
        return True

    def line(self):
        """One line without its CR LF."""
        while b"\n" not in self.data:
            if not self.fill():
                if not self.data:
                    raise Closed()
                raise Truncated(f"the connection ended in a line: {bytes(self.data[:200])!r}")
        end = self.data.index(b"\n")
        line = bytes(self.data[:end])
        self.recorded += self.data[: end + 1]
        del self.data[: end + 1]
        if not line.endswith(b"\r"):
            raise Malformed(f"a line without CR: {line[:200]!r}")
        if b"\r" in line[:-1] or b"\0" in line:
            raise Malformed(f"a control character in {line[:200]!r}")
        return line[:-1]

    def some(self, limit):
        """What is there, at least one byte and at most `limit`; b"" at the end."""
        if not self.data and not self.fill():
            return b""
        piece = bytes(self.data[:limit])
        del self.data[:limit]
        return piece

    def exact(self, count):
        while len(self.data) < count:
            if not self.fill():
                raise Truncated(f"the connection ended {count - len(self.data)} bytes early")
        piece = bytes(self.data[:count])
        del self.data[:count]
        return piece

    def take_record(self):
        record = bytes(self.recorded)
        self.recorded.clear()
        return record

    def at_end(self):
        """True when the other side has closed and nothing is left."""
        return not self.data and not self.fill()


def read_fields(reader):
    """Field lines up to the empty one."""
    fields = Fields()
    while True:
        try:
            line = reader.line()
        except Closed:
            raise Truncated("the connection ended in the fields") from None
        if not line:
            return fields
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            raise Malformed(f"not a field line: {line[:200]!r}")
        if not FIELD_VALUE.fullmatch(value):
            raise Malformed(f"a control character in a field: {line[:200]!r}")
        fields.append((name.decode(), value.strip(b" \t").decode("latin-1")))


class Body:
    """The body of one message, taken piece by piece. kind: none, length, chunked, close."""

    def __init__(self, reader, kind, length=0):
        self.reader = reader
        self.kind = kind
        self.left = length
        self.trailers = Fields()
        self.done = kind == "none" or (kind == "length" and length == 0)
        self.in_chunk = False

    def some(self, limit=1 << 20):
        """The next bytes of the payload; b"" once the message has ended."""
        if self.done:
            return b""
        if self.kind == "close":
            piece = self.reader.some(limit)
            self.done = not piece
            return piece
        if self.kind == "chunked" and not self.in_chunk:
            self.begin_chunk()
            if self.done:
                return b""
        piece = self.reader.some(min(limit, self.left))
        if not piece:
            raise Truncated(f"the connection ended {self.left} bytes before the end of the body")
        self.left -= len(piece)
        if self.left == 0:
            if self.kind == "length":
                self.done = True
            else:
                self.in_chunk = False
                if self.reader.exact(2) != b"\r\n":
                    raise Malformed("a chunk does not end in CR LF")
        return piece

    def begin_chunk(self):
        try:
            line = self.reader.line()
        except Closed:
            raise Truncated("the connection ended before the last chunk") from None
        size = line.split(b";")[0]
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size):
            raise Malformed(f"not a chunk size: {line[:80]!r}")
        self.left = int(size, 16)
        if self.left == 0:
            self.trailers = read_fields(self.reader)
            self.done = True
        else:
            self.in_chunk = True

    def exact(self, count):
        """Exactly `count` bytes of payload."""
        pieces = []
        while count:
            piece = self.some(count)
            if not piece:
                raise Truncated(f"the body ended {count} bytes early")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def read(self):
        pieces = []
        while True:
            piece = self.some()
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)


def body_of(reader, fields, until_close):
    """The body that these fields announce. `until_close`: a message without any ends with the connection, else there is none."""
    lengths = fields.all("Content-Length")
    codings = fields.members("Transfer-Encoding")
    if lengths and codings:
        raise Malformed("Content-Length and Transfer-Encoding together")
    if codings:
        if codings != ["chunked"]:
            raise Malformed(f"transfer codings {codings}")
        return Body(reader, "chunked")
    if lengths:
        if len(lengths) != 1 or not re.fullmatch(r"0|[1-9][0-9]*", lengths[0]):
            raise Malformed(f"Content-Length {lengths}")
        return Body(reader, "length", int(lengths[0]))
    return Body(reader, "close" if until_close else "none")


def encode_fields(fields):
    """Field lines of a dict, of pairs, or of a dict whose values are lists; None values are left out."""
    lines = []
    for name, value in fields.items() if isinstance(fields, dict) else fields:
        if value is None:
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            lines.append(f"{name}: {one}\r\n".encode("latin-1"))
    return b"".join(lines)


def encode_chunk(piece):
    return b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
