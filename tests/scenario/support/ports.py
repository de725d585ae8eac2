"""A port that is known before what listens on it is started."""

import contextlib
import socket


@contextlib.contextmanager
def reserved_port(host="127.0.0.1"):
    """Nobody else is given it meanwhile: it is bound, which does not keep a program that asks for it by number from listening on it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        yield sock.getsockname()[1]
