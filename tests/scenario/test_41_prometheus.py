"""A real Prometheus scrapes larder; its answers, the alerts and the dashboard's queries."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
from support.admin import Admin, admin_addresses
from support.client import Client
from support.ports import reserved_port
from support.proxy import ROOT
from support.say import always
from support.wire import TIMEOUT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.plain_only,
              pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is missing")]

RULES = ROOT / "proxy" / "package" / "prometheus" / "larder.rules.yml"
SCRAPE = ROOT / "proxy" / "package" / "prometheus" / "larder.scrape.yml"
DASHBOARD = json.loads((ROOT / "proxy" / "package" / "grafana" / "larder.json").read_text(encoding="utf-8"))
TOKEN = "a-token-of-some-length"


def expressions():
    """Every query of the dashboard, with what Grafana would put in place of its variables."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    return [re.sub(r"\$(site|instance)\b", ".*", expr).replace("$__rate_interval", "1m") for expr in found]


def readme_block(begins):
    """What README.md shows that begins so."""
    return re.search(rf"(?ms)^```\w*\n({re.escape(begins)}.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"))[1]


class Prometheus:
    """Scrapes five times a second what the snippet says, at another address; listens on `port`."""

    def __init__(self, directory, address, port):
        self.port = port
        scrape = SCRAPE.read_text(encoding="utf-8").replace("127.0.0.1:9145", f"{address[0]}:{address[1]}")
        (directory / "larder.token").write_text(TOKEN, encoding="utf-8")
        scrape = scrape.replace("    # ", "    ").replace("/etc/prometheus/larder.token", str(directory / "larder.token"))
        config = directory / "prometheus.yml"
        config.write_text(f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\nrule_files: ['{RULES}']\n{scrape}",
                          encoding="utf-8")
        self.log = (directory / "prometheus.log").open("w", encoding="utf-8")
        self.process = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
                                         f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=subprocess.STDOUT)

    def get(self, path, **query):
        """The data of an answer; None while there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=TIMEOUT) as answer:
                return json.load(answer)["data"]
        except ConnectionError:
            return None
        except urllib.error.HTTPError as error:
            assert error.code == 503, f"{query}: {error.read()}"  # it is starting
            return None
        except urllib.error.URLError:
            return None

    def value(self, expr):
        """The value of the only series."""
        data = self.get("query", query=expr)
        return float(data["result"][0]["value"][1]) if data and len(data["result"]) == 1 else None

    def end(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.log.close()


@pytest.fixture
def proxy(larder, origin):
    return larder(config=f'[admin]\nlisten = "127.0.0.1:0"\ntoken = "{TOKEN}"\n[[site]]\nhosts = "a.test"\norigin = "{origin.url}"\n')


@pytest.fixture
def prometheus(tmp_path, proxy):
    with reserved_port() as port:
        started = Prometheus(tmp_path, admin_addresses(proxy)[0], port)
        yield started
        started.end()


def test_prometheus_answers_what_larder_counted(prometheus, proxy, origin):
    origin.on("GET *", always(200, {"Cache-Control": "max-age=60"}, b"x" * 1000))
    client = Client(proxy)
    for _ in range(5):
        client.get("/a", host="a.test").expect(200)
    wanted = {
        'sum by (site) (larder_requests_total{outcome="hit"})': 4,
        'larder_requests_total{site="a.test",outcome="uri-miss"}': 1,
        'larder_responses_total{site="a.test",status="2xx"}': 5,
        'larder_response_size_bytes_sum{site="a.test"}': 5000,
        'larder_origin_in_service{site="a.test"}': 1,
        "larder_store_objects": 1,
        'up{job="larder"}': 1,
        "histogram_quantile(1, sum by (le) (larder_response_size_bytes_bucket)) >= bool 1000": 1,
    }
    for expr, value in wanted.items():
        wait_until(lambda expr=expr, value=value: prometheus.value(expr) == value, f"{expr} to be {value}")

    # Every query of the dashboard is one that Prometheus understands, and finds something.
    wait_until(lambda: prometheus.value("sum(rate(larder_requests_total[1m]))") is not None, "two scrapes")
    may_be_empty = ('outcome!="hit"', "> 0", 'status="5xx"', "end!~")
    for expr in expressions():
        data = prometheus.get("query", query=expr)
        assert data["result"] or any(part in expr for part in may_be_empty), expr
    for expr in readme_block("sum by (site)").splitlines():
        assert prometheus.get("query", query=expr.replace("[5m]", "[1m]"))["result"], expr

    # One that a scrape brought up which took too long is pending until the next evaluation.
    def complaining():
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return [rule["name"] for rule in rules if (rule["health"], rule["state"]) != ("ok", "inactive")] if rules else ["no rules yet"]

    wait_until(lambda: not complaining(), "the alerts to be evaluated, and none to have a reason")


def test_every_metric_named_is_one_of_larders(proxy):
    address = admin_addresses(proxy)[0]
    text = Admin(proxy, address=address).get("/metrics", {"Authorization": f"Bearer {TOKEN}"}).expect(200).body.decode()
    families = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
    known = {name + end for name, kind in families.items() for end in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}
    variables = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]
    for source in (*expressions(), *variables, RULES.read_text(encoding="utf-8")):
        for name in re.findall(r"\blarder_\w+", source):
            assert name in known, source


def test_alerts_fire(tmp_path):
    """promtool's check of the rules, and its tests: of each alert that it fires, and not at once unless it should."""
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr

    cases = {
        "LarderDown": ('up{job="larder",instance="i"}', "1 1 0x10"),
        "LarderSiteWithoutOrigin": ('larder_origin_in_service{site="s",origin="o"}', "0x20"),
        "LarderOriginUnreachable": ('larder_requests_total{site="s",outcome="stale",reason="stale-disconnected"}', "0+30x20"),
        "LarderOriginOut": ('larder_origin_in_service{site="s",origin="o"}', "0x20"),
        "LarderStoreFailed": ("larder_store_failed", "1x20"),
        "LarderStoreCommitErrors": ("larder_store_commit_errors_total", "0+1x20"),
        "LarderStoreDamaged": ("larder_store_damaged_reads_total", "0+1x20"),
        "LarderRefuses": ('larder_refused_total{cause="too-many-connections"}', "0+30x20"),
        "LarderBreaksOff": ('larder_requests_ended_total{site="s",end="origin-broke-off"}', "0+30x20"),
        "LarderServerErrors": ('larder_responses_total{site="s",status="5xx"}', "0+10x20"),
    }
    for name, (metric, values) in cases.items():
        file = tmp_path / f"{name}.yml"
        for at, fires in (("0m", name == "LarderStoreFailed"), ("15m" if name != "LarderDown" else "6m", True)):
            test = {"interval": "1m", "input_series": [{"series": metric, "values": values}], "promql_expr_test": [
                {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', "eval_time": at,
                 "exp_samples": [{"labels": "{}", "value": 1 if fires else 0}]}]}
            file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}), encoding="utf-8")
            done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, f"{name} at {at}: {done.stdout}{done.stderr}"


def test_what_the_readme_puts_into_prometheus_yml(tmp_path):
    file = tmp_path / "prometheus.yml"
    file.write_text(readme_block("rule_files:").replace("/usr/share/larder/larder.rules.yml", str(RULES)), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
