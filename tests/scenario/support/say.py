"""Short forms for what scripted origins say."""

import time
from email.utils import formatdate


NO_STORE = {"Cache-Control": "no-store"}


def date(offset_s=0):
    """An HTTP date so many seconds from now."""
    return formatdate(time.time() + offset_s, usegmt=True)


def fresh(seconds=60, **more):
    """Fields of a response that is fresh for so long; names with _ for -."""
    return {"Cache-Control": f"max-age={seconds}", **named(more)}


def stale(**more):
    """Fields of a response that may be stored but is stale on arrival."""
    return {"Cache-Control": "max-age=60", "Age": "60", **named(more)}


def named(fields):
    return {name.replace("_", "-"): value for name, value in fields.items()}


def always(status=200, headers=None, body=b"body", **options):
    """A handler for origin.on that always says the same."""
    return lambda exchange: exchange.reply(status, headers, body, **options)
