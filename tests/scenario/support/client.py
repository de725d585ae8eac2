"""A raw HTTP/1 client that checks what it gets."""

import contextlib
import fcntl
import re
import socket
import sys
import termios

from .wire import TIMEOUT, Body, Closed, Malformed, Reader, body_of, encode_chunk, encode_fields, read_fields, wait_until

HOST = "larder.test"  # the same in every run, since it is part of the cache's key


def cache_status(value):
    """The parameters of the last member of a Cache-Status field (RFC 9211): {"hit": True, "ttl": "59", "detail": "fresh"}."""
    member, quoted = "", False
    for character in value or "":
        if character == '"':
            quoted = not quoted
        if character == "," and not quoted:
            member = ""
        else:
            member += character
    parameters = {}
    for item in re.findall(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+', member.strip()):
        key, equals, text = item.strip().partition("=")
        parameters[key] = text.strip('"') if equals else True
    return parameters


def unread(local_port, remote_port):
    """Bytes that wait to be read at the end `local_port` of a TCP connection; None while nobody has accepted it."""
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                words = line.split()
                if int(words[1].split(":")[1], 16) == local_port and int(words[2].split(":")[1], 16) == remote_port:
                    return int(words[4].split(":")[1], 16) if words[9] != "0" else None
    return None


def unsent(sock):
    """Bytes that the other side's kernel has not acknowledged."""
    count = bytearray(4)
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


def wait_read(sock):
    """Waits until the other side, a process on this machine, has read everything that this TCP socket sent."""
    here, there = sock.getsockname()[1], sock.getpeername()[1]
    wait_until(lambda: unsent(sock) == 0 and unread(there, here) == 0, "larder to read it")


class Response:
    """One response: status, reason, version, fields, the 1xx before it, and its body, read at once or by pieces."""

    def __init__(self, version, status, reason, fields, body, informational, raw_head, client):
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = fields
        self.stream = body
        self.informational = informational  # [(status, fields)]
        self.raw_head = raw_head
        self.client = client
        self.content = None

    @property
    def body(self):
        if self.content is None:
            self.content = self.stream.read()
            self.client.message_ended(self)
        return self.content

    @property
    def trailers(self):
        _ = self.body
        return self.stream.trailers

    @property
    def cache(self):
        return cache_status(self.headers.get("Cache-Status"))

    def header(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"{self.raw_head.decode('latin-1')}{(self.content or b'')[:300]!r}"

    def expect(self, status, body=None, cache=None, headers=None):
        """Asserts. `cache`: "hit" or "fwd=stale; stored; !collapsed", each a parameter of Cache-Status ("!": absent); a detail is one of
        the words of `detail`. `headers`: {name: text, a compiled pattern, or None for absent}."""
        assert self.status == status, f"status {self.status}, want {status}\n{self!r}"
        if body is not None:
            assert self.body == body, f"body {self.body[:200]!r} ({len(self.body)} bytes), want {body[:200]!r} ({len(body)} bytes)\n{self!r}"
        for item in [item.strip() for item in (cache or "").split(";") if item.strip()]:
            self.expect_cache(item)
        for name, want in (headers or {}).items():
            got = self.headers.get(name)
            if want is None or isinstance(want, str):
                assert got == want, f"{name}: {got!r}, want {want!r}\n{self!r}"
            else:
                assert got is not None and want.search(got), f"{name}: {got!r}, want {want.pattern!r}\n{self!r}"
        return self

    def expect_cache(self, item):
        key, equals, text = item.partition("=")
        if key.startswith("!"):
            assert key[1:] not in self.cache, f"Cache-Status has {key[1:]}\n{self!r}"
        elif not equals:
            assert key in self.cache, f"Cache-Status without {key}\n{self!r}"
        elif key == "detail":
            assert text in re.split(r"[\s,;:=()]+", str(self.cache.get("detail", ""))), f"detail without {text}\n{self!r}"
        else:
            assert self.cache.get(key) == text, f"Cache-Status {key}={self.cache.get(key)}, want {text}\n{self!r}"


class Client:
    """One client. It has one connection at a time: kept between requests as long as both sides allow it, then opened anew."""

    caches = True  # what answers says so in Cache-Status

    def __init__(self, proxy, address=None, host=HOST, source=None):
        self.proxy = proxy
        self.address = address
        self.host = host
        self.source = source  # another loopback address to come from
        self.sock = None
        self.reader = None
        self.ending = False  # the last response said that the connection closes
        self.connections = 0
        proxy.clients.append(self)

    # --- connection -------------------------------------------------------------------------------------------------------------

    def connect(self):
        self.close()
        address = self.address or self.proxy.address
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address, timeout=TIMEOUT, source_address=(self.source, 0) if self.source else None)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)
        self.connections += 1
        return self

    def close(self):
        if self.sock is not None:
            self.sock.close()
        self.sock = self.reader = None
        self.ending = False

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def shutdown(self):
        """Says that nothing more will be sent, and goes on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def expect_closed(self):
        """The other side closes, without another byte."""
        assert self.reader.at_end(), f"more bytes: {bytes(self.reader.data[:300])!r}"
        self.close()

    def send_refused(self, raw, *statuses):
        """Sends the bytes; the answer has one of these statuses, and says that the connection closes, which it does."""
        self.send_raw(raw)
        response = self.read_response()
        assert response.status in statuses, f"{response!r}\nto {raw[:300]!r}"
        assert "close" in response.headers.members("Connection"), response
        self.expect_closed()
        return response

    def message_ended(self, response):
        connection = response.headers.members("Connection")
        kept = "keep-alive" in connection if response.version == "1.0" else "close" not in connection
        if response.stream.kind == "close" or not kept:
            self.ending = True

    def wait_taken(self):
        """Waits until larder has read everything that was sent, and has done with it what can be done: all has arrived, its socket
        exists and holds nothing unread, and no thread is at work."""
        wait_read(self.sock)
        wait_until(self.proxy.is_asleep, "larder to act on the request")
        return self

    # --- requests ---------------------------------------------------------------------------------------------------------------

    def send_raw(self, data):
        if self.ending:
            self.expect_closed()
        if self.sock is None:
            self.connect()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer and close before it has read everything
            self.sock.sendall(data)
        return self

    def encode(self, method, target, headers=None, body=None, version="1.1", chunked=False, trailers=None, host=None):
        fields = list((headers or {}).items()) if isinstance(headers or {}, dict) else list(headers)
        names = {name.lower() for name, _ in fields}
        head = f"{method} {target} HTTP/{version}\r\n".encode("latin-1")
        if "host" not in names:
            head += f"Host: {host or self.host}\r\n".encode()
        if chunked:
            pieces = body if isinstance(body, list) else [body or b""]
            payload = b"".join(encode_chunk(piece) for piece in pieces) + b"0\r\n" + encode_fields(trailers or {}) + b"\r\n"
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            payload = body or b""
            if body is not None and "content-length" not in names:
                fields.append(("Content-Length", len(body)))
        return head + encode_fields(fields) + b"\r\n" + payload

    def send(self, method, target, headers=None, body=None, **options):
        """Sends the request, and leaves all of the response to be read."""
        return self.send_raw(self.encode(method, target, headers, body, **options))

    def begin(self, method, target, headers=None, body=None, **options):
        """Sends the request, reads the head of the response, and leaves its body to be read by pieces."""
        self.send(method, target, headers, body, **options)
        return self.read_head(method)

    def request(self, method, target, headers=None, body=None, **options):
        response = self.begin(method, target, headers, body, **options)
        _ = response.body
        return response

    def get(self, target, headers=None, **options):
        return self.request("GET", target, headers, **options)

    def head(self, target, headers=None, **options):
        return self.request("HEAD", target, headers, **options)

    def post(self, target, body=b"", headers=None, **options):
        return self.request("POST", target, headers, body, **options)

    def put(self, target, body=b"", headers=None, **options):
        return self.request("PUT", target, headers, body, **options)

    def delete(self, target, headers=None, **options):
        return self.request("DELETE", target, headers, **options)

    # --- responses --------------------------------------------------------------------------------------------------------------

    def read_informational(self):
        """One 1xx head: (status, fields)."""
        _, status, _, fields = self.read_start()
        assert 100 <= status < 200, f"status {status}, want an informational one"
        return status, fields

    def read_start(self):
        try:
            line = self.reader.line()
        except Closed:
            raise AssertionError("the connection was closed instead of an answer") from None
        match = re.fullmatch(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)", line)
        if not match:
            raise Malformed(f"not a status line: {line!r}")
        fields = read_fields(self.reader)
        return match.group(1).decode(), int(match.group(2)), match.group(3).decode("latin-1"), fields

    def read_head(self, method="GET"):
        informational = []
        while True:
            self.reader.take_record()
            version, status, reason, fields = self.read_start()
            if status >= 200 or status == 101:
                break
            informational.append((status, fields))
        raw_head = self.reader.take_record()
        if method == "HEAD" or status in (101, 204, 304):
            if status in (101, 204) and ("Content-Length" in fields or "Transfer-Encoding" in fields):
                raise Malformed(f"a {status} with framing fields")
            if status == 304 and ("Content-Length" in fields or "Transfer-Encoding" in fields):
                raise Malformed("a 304 with framing fields")
            body = Body(self.reader, "none")
        else:
            body = body_of(self.reader, fields, until_close=True)
        response = Response(version, status, reason, fields, body, informational, raw_head, self)
        if status != 101:
            assert "Date" in fields, f"no Date\n{response!r}"
            assert not self.caches or re.match(r"(.*, *)?larder\b", fields.get("Cache-Status", "")), f"no Cache-Status of larder\n{response!r}"
            assert len(fields.all("Date")) == 1, f"two Date\n{response!r}"
        return response

    def read_response(self, method="GET"):
        response = self.read_head(method)
        _ = response.body
        return response
