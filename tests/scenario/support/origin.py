"""A scripted origin: it answers what a test told it to expect, and fails the test on anything else."""

import contextlib
import fnmatch
import re
import socket
import threading
from collections import Counter

from .wire import TIMEOUT, Closed, Malformed, Reader, Truncated, body_of, encode_chunk, encode_fields, read_fields, wait_until

REASONS = {100: "Continue", 101: "Switching Protocols", 103: "Early Hints", 200: "OK", 201: "Created", 204: "No Content",
           206: "Partial Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified", 404: "Not Found", 410: "Gone",
           412: "Precondition Failed", 417: "Expectation Failed", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}


AT_ONCE_BYTES = 16 * 1024  # a small response, or what comes of it before a gate, goes out as one


def encode_head(status, headers=None, reason=None, version="1.1"):
    text = REASONS.get(status, "Whatever") if reason is None else reason
    return f"HTTP/{version} {status} {text}\r\n".encode("latin-1") + encode_fields(headers or {}) + b"\r\n"


class Gate:
    """Holds an answer back until the test opens it."""

    def __init__(self):
        self.event = threading.Event()
        self.reached = threading.Event()

    def open(self):
        self.event.set()

    def wait(self):
        """Called by the origin."""
        self.reached.set()
        assert self.event.wait(2 * TIMEOUT), "a gate was never opened"

    def wait_reached(self):
        """Called by the test: waits until the origin stands at the gate."""
        assert self.reached.wait(TIMEOUT), "the origin never came to the gate"


class Request:
    """A request as the origin received it."""

    def __init__(self, method, target, version, fields, raw_head, connection):
        self.method = method
        self.target = target
        self.version = version
        self.headers = fields
        self.raw_head = raw_head
        self.connection = connection  # number of the connection it came on, from 1
        self.body = None
        self.trailers = None

    @property
    def path(self):
        return self.target.split("?")[0]

    def header(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"{self.method} {self.target} {list(self.headers)}"


class Exchange:
    """One request being answered. Handlers get this."""

    def __init__(self, origin, sock, reader, request):
        self.origin = origin
        self.sock = sock
        self.reader = reader
        self.request = request
        self.keep = request.version == "1.1" and "close" not in request.headers.members("Connection")
        self.stream = body_of(reader, request.headers, until_close=False)

    def read_body(self):
        if self.request.body is None:
            if "100-continue" in self.request.headers.members("Expect"):
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.request.body = self.stream.read()
            self.request.trailers = self.stream.trailers
        return self.request.body

    def send(self, data):
        if data:
            self.sock.sendall(data)

    def close(self):
        self.keep = False

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()
        self.keep = False

    def send_head(self, status, headers=None, reason=None, version="1.1"):
        self.send(encode_head(status, headers, reason, version))

    def reply(self, status=200, headers=None, body=b"", framing="length", trailers=None, interim=(), close=False, version="1.1", reason=None):
        """A whole response. `body`: bytes, or a list of bytes and Gates. framing: length, chunked, close. `interim`: [(103, headers)]."""
        pieces = body if isinstance(body, list) else [body]
        fields = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        names = {name.lower() for name, _ in fields}
        bodiless = self.request.method == "HEAD" or status in (204, 304) or status < 200
        if framing == "chunked":
            fields.append(("Transfer-Encoding", "chunked"))
        elif framing == "close":
            close = True
        elif "content-length" not in names and status not in (204, 304) and status >= 200:
            fields.append(("Content-Length", sum(len(piece) for piece in pieces if not isinstance(piece, Gate))))
        if close:
            if "connection" not in names:
                fields.append(("Connection", "close"))
            self.keep = False
        for code, extra in interim:
            self.send_head(code, extra)
        if bodiless:
            pieces, framing = [], "none"
        waiting = encode_head(status, fields, reason, version)
        for piece in pieces:
            if isinstance(piece, Gate):
                self.send(waiting)
                waiting = b""
                piece.wait()
                continue
            waiting += encode_chunk(piece) if framing == "chunked" else piece
            if len(waiting) > AT_ONCE_BYTES:
                self.send(waiting)
                waiting = b""
        if framing == "chunked":
            waiting += b"0\r\n" + encode_fields(trailers or {}) + b"\r\n"
        self.send(waiting)


class Expectation:
    """One request that must come, and what to answer."""

    def __init__(self, origin, line, headers, body):
        self.origin = origin
        self.method, self.target = line.split(" ", 1)
        self.headers = headers or {}
        self.body = body
        self.action = lambda exchange: exchange.reply()
        self.reads_body = True
        self.request = None  # what came, once it came
        self.answered = threading.Event()

    def reply(self, status=200, headers=None, body=b"", hold=None, **options):
        """Answers so. `hold`: a Gate to wait at before the head."""

        def action(exchange):
            if hold is not None:
                hold.wait()
            exchange.reply(status, headers, body, **options)

        self.action = action
        return self

    def handle(self, function, read_body=True):
        """Answers by function(exchange)."""
        self.action = function
        self.reads_body = read_body
        return self

    def send_raw(self, data, close=True, read_body=True):
        """Answers with these bytes, then closes."""

        def action(exchange):
            exchange.send(data)
            exchange.keep = exchange.keep and not close

        return self.handle(action, read_body)

    def disconnect(self, read_body=True):
        """Closes without an answer."""
        return self.handle(lambda exchange: exchange.close(), read_body)

    def matches(self, request):
        return self.method == request.method and self.target == request.target

    def complaints(self, request):
        """What is not as expected."""
        for name, want in self.headers.items():
            got = request.headers.get(name)
            if want is None or isinstance(want, str):
                if got != want:
                    yield f"{request.method} {request.target}: {name} is {got!r}, want {want!r}"
            elif got is None or not want.search(got):
                yield f"{request.method} {request.target}: {name} is {got!r}, want {want.pattern!r}"

    def wait_answered(self):
        assert self.answered.wait(TIMEOUT), f"{self.method} {self.target} never came or was never answered"
        return self


class Origin:
    """A listening origin. Expectations are met in the order in which they were made, for each method and target by itself."""

    def __init__(self, host="127.0.0.1", port=0, backlog=512):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(backlog)
        self.host = host
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.expected = []
        self.handlers = []  # (method, pattern, function)
        self.requests = []  # all that came
        self.failures = []
        self.gates = []
        self.connections = 0
        self.open_sockets = set()
        self.counts = Counter()
        self.stopping = False
        self.idle_timeout = None
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    @property
    def url(self):
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    # --- what tests say ---------------------------------------------------------------------------------------------------------

    def expect(self, line, headers=None, body=None):
        """`line`: "GET /a". `headers`: {name: text, a compiled pattern, or None for absent}. Answers 200 unless told otherwise."""
        expectation = Expectation(self, line, headers, body)
        with self.lock:
            self.expected.append(expectation)
        return expectation

    def on(self, line, function, read_body=True):
        """Answers any number of requests that match "GET /item/*" by function(exchange)."""
        method, pattern = line.split(" ", 1)
        self.handlers.append((method, pattern, function, read_body))

    def gate(self):
        gate = Gate()
        self.gates.append(gate)
        return gate

    def open_gates(self):
        for gate in self.gates:
            gate.open()

    def count(self, path=None):
        """How many requests came (for this path)."""
        with self.lock:
            return len(self.requests) if path is None else self.counts[path]

    def wait_count(self, count, path=None):
        wait_until(lambda: self.count(path) >= count, f"{count} requests for {path}")

    @property
    def last(self):
        with self.lock:
            return self.requests[-1]

    def wait_done(self):
        """Waits until everything that was expected has come."""
        wait_until(lambda: not self.expected, f"the origin to receive {[f'{e.method} {e.target}' for e in self.expected]}")

    def drop_connections(self):
        """Closes every open connection from this side."""
        with self.lock:
            sockets = list(self.open_sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def check(self):
        """Fails unless exactly what was expected came."""
        assert not self.failures, "the origin complains:\n" + "\n".join(self.failures)
        missing = [f"{expectation.method} {expectation.target}" for expectation in self.expected]
        assert not missing, f"the origin never received {missing}"

    def stop(self):
        self.stopping = True
        self.open_gates()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(TIMEOUT)  # else it may accept on what another origin's listener has the number of by then
        self.listener.close()
        self.drop_connections()

    # --- what it does -----------------------------------------------------------------------------------------------------------

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
                self.open_sockets.add(sock)
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def serve(self, sock, number):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(sock)
        try:
            while self.serve_one(sock, reader, number):
                pass
        except (Closed, Truncated, BrokenPipeError, ConnectionResetError):
            pass  # the proxy went away
        except OSError as error:
            if not self.stopping:
                self.failures.append(f"origin: {error!r}")
        except Malformed as error:
            self.failures.append(f"malformed request: {error}")
        except AssertionError as error:
            if not self.stopping:
                self.failures.append(f"origin: {error}")
        finally:
            with self.lock:
                self.open_sockets.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def serve_one(self, sock, reader, number):
        """Answers one request; False when the connection is to be closed."""
        request = read_request(reader, number)
        expectation = handler = None
        with self.lock:
            self.requests.append(request)
            self.counts[request.path] += 1
            expectation = next((one for one in self.expected if one.matches(request)), None)
            if expectation is not None:
                self.expected.remove(expectation)
        exchange = Exchange(self, sock, reader, request)
        if expectation is not None:
            expectation.request = request
            self.failures.extend(expectation.complaints(request))
            if expectation.reads_body:
                exchange.read_body()
                if expectation.body is not None and request.body != expectation.body:
                    self.failures.append(f"{request!r}: body {request.body[:200]!r}, want {expectation.body[:200]!r}")
            try:
                expectation.action(exchange)
            finally:
                expectation.answered.set()
            return exchange.keep
        for method, pattern, handler, read_body in self.handlers:
            if method in (request.method, "*") and fnmatch.fnmatchcase(request.target, pattern):
                if read_body:
                    exchange.read_body()
                handler(exchange)
                return exchange.keep
        self.failures.append(f"unexpected request: {request!r}")
        exchange.read_body()
        exchange.reply(500, {"Cache-Control": "no-store"}, b"unexpected")
        return exchange.keep


def read_request(reader, connection):
    reader.take_record()
    line = reader.line()
    match = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(1\.[01])", line)
    if not match:
        raise Malformed(f"not a request line: {line!r}")
    fields = read_fields(reader)
    method, target, version = (part.decode("latin-1") for part in match.groups())
    if len(fields.all("Host")) != 1:
        raise Malformed(f"{len(fields.all('Host'))} Host fields in {line!r}")
    return Request(method, target, version, fields, reader.take_record(), connection)
