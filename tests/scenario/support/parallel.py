"""Many things at once."""

import threading

from .client import Client
from .say import NO_STORE
from .wire import TIMEOUT


def in_parallel(function, arguments, timeout=3 * TIMEOUT):
    """function(argument) for each argument, each in a thread of its own; the results in order. The first exception is raised."""
    arguments = list(arguments)
    results = [None] * len(arguments)
    problems = []

    def run(index):
        try:
            results[index] = function(arguments[index])
        except BaseException as problem:  # pylint: disable=broad-except
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive(), "a thread hangs"
    if problems:
        raise problems[0]
    return results


def occupied(origin, proxy):
    """One request is at the origin, and stays there until the gate opens: the gate, and whose request it is."""
    gate = origin.gate()
    origin.expect("GET /slow").reply(200, NO_STORE, b"slow", hold=gate)
    client = Client(proxy)
    client.send("GET", "/slow")
    gate.wait_reached()
    return gate, client
