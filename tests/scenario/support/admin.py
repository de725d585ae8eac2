"""Speaking to the administration of a larder."""

import json
import re

from .client import Client


class Admin(Client):
    """A client of the unix socket, or of an address of [admin]."""

    caches = False

    def __init__(self, proxy, address=None):
        super().__init__(proxy, address=address or str(proxy.cache_dir / "admin.sock"), host="localhost")

    def status(self):
        return json.loads(self.get("/v1/status").expect(200).body)

    def metrics(self):
        """{'name{labels}': value}."""
        lines = self.get("/metrics").expect(200).body.decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def ends(self):
        """{end: requests that ended so}, of all sites, without those of which there is none."""
        counts = {}
        for name, count in self.metrics().items():
            if (found := re.search(r'^larder_requests_ended_total\{.*end="([^"]+)"', name)) and count > 0:
                counts[found[1]] = counts.get(found[1], 0) + count
        return counts


def admin_addresses(proxy):
    """Where the administration listens besides the socket: [(host, port)]."""
    found = re.findall(r"administration address=(\S+):(\d+)", proxy.stderr)
    return [(host, int(port)) for host, port in found]
