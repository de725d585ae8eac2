"""Bytes of a stopped larder's store that change."""

import mmap


def damage(directory, good):
    """Wherever `good` lies it says something else."""
    found = 0
    for file in (directory / "data.mdb", directory / "bodies"):
        if not file.exists():
            continue
        with open(file, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
            position = data.find(good)
            while position >= 0:
                data[position:position + 10] = bytes(byte ^ 0xff for byte in good[:10])
                found += 1
                position = data.find(good, position + 10)
    assert found > 0, "it does not lie there as it is: this test needs another way to damage it"
