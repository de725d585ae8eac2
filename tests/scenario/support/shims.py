"""Libraries that are preloaded into larder: tests/fault. They cannot be loaded in front of a sanitizer's, and are not in those builds: what
uses one is marked plain_only."""

from .proxy import LARDER


def preloaded(name):
    """→ the environment of a larder that has it."""
    path = LARDER.parent / "tests" / "fault" / f"lib{name}_shim.so"
    assert path.exists(), f"{path} is not built"
    return {"LD_PRELOAD": str(path)}
