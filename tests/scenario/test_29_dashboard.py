"""The dashboard in a real browser: what it shows, what it does, and that it asks nobody else."""

import json
import signal

import pytest
from support.admin import Admin, admin_addresses
from support.browser import PHONE, WIDE, Browser
from support.client import HOST, Client
from support.ports import reserved_port
from support.wire import wait_until

TOKEN = "0123456789abcdef"
FRESH = {"Cache-Control": "max-age=600"}


@pytest.fixture(scope="module")
def window():
    browser = Browser()
    yield browser
    browser.quit()


@pytest.fixture
def browser(window):
    window.shape()
    window.open("about:blank")
    window.console()
    window.note()
    return window


@pytest.fixture
def proxy(larder, origin):
    return larder(origin, config='[admin]\nlisten = "127.0.0.1:0"\n')


def address(proxy):
    host, port = admin_addresses(proxy)[-1]
    return f"http://{host}:{port}/"


def show(browser, proxy):
    browser.open(address(proxy))
    browser.wait_text("#state", "live")


def ask(browser, url):
    field = browser.find("#url")
    field.clear()
    field.send_keys(url)
    browser.find("#ask [type=submit]").click()


def test_it_loads_without_complaint_and_asks_nobody_else(browser, proxy):
    show(browser, proxy)
    browser.wait_text("#process", "up ")
    assert browser.console() == []
    asked = [url for url, _ in browser.note() if not url.startswith("data:")]
    assert len(asked) > 10 and all(url.startswith(address(proxy)) for url in asked), asked


def test_figures_follow_what_happens(browser, proxy, origin):
    client = Client(proxy)
    show(browser, proxy)
    assert browser.text("#hit-ratio") == "–"
    origin.expect("GET /a").reply(200, FRESH, b"x" * 50000)
    for _ in range(4):
        client.get("/a").expect(200)
    browser.wait_text("#hit-ratio", "75.0 %")
    browser.wait_text("#saved", "75.")
    browser.wait_text("#sent-total", "201 KB")
    browser.wait_text("#requests-total", "4, 0 with 5xx")
    browser.wait_text("#store-note", "1 stored")
    browser.wait_text("#latency", "s")
    assert browser.run("return [...document.querySelector('#sites tbody tr').cells].map((cell) => cell.textContent)")[:1] == ["default"]
    browser.wait_text("#sites tbody", "75.0 %")
    browser.wait_text("#origins tbody", origin.url)
    browser.wait_text("#origins tbody", "in service")
    label = "return document.getElementById('chart-requests').getAttribute('aria-label')"
    wait_until(lambda: "now: from the store" in browser.run(label), "the chart to be described")


def test_a_page_opened_later_has_the_past(browser, proxy, origin):
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    client = Client(proxy)
    client.get("/a").expect(200)
    client.get("/a").expect(200, cache="hit")
    history = "/v1/history"
    wait_until(lambda: json.loads(Admin(proxy).get(history).expect(200).body)["samples"][-1]["requests"] == 2, "a sample")
    show(browser, proxy)
    browser.wait_text("#hit-ratio", "50.0 %")


def test_why_and_purge(browser, proxy, origin):
    url = f"http://{HOST}/a"
    client = Client(proxy)
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    client.get("/a").expect(200)
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] == 1, "the response to be stored")
    show(browser, proxy)
    ask(browser, url)
    browser.wait_text("#answer .verdict", "From the store")
    assert "fresh (RFC 9111 4.2)" in browser.text("#answer") and f"GET {url}" in browser.text("#answer")
    browser.find("#purge-soft").click()
    browser.wait_text("#purged", "Purged softly, sequence 1")
    browser.wait_text("#answer .verdict", "Revalidated at the origin")
    browser.find("#purge-hard").click()
    browser.wait_text("#purged", "Purged, sequence 2")
    browser.wait_text("#answer .verdict", "Fetched from the origin")
    origin.expect("GET /a", {"If-None-Match": None}).reply(200, FRESH, b"again")
    client.get("/a").expect(200, body=b"again", cache="fwd=uri-miss")
    browser.wait_text("#purges tbody", url)
    assert browser.console() == []


def test_what_the_origin_was_asked_for(browser, proxy, origin):
    """Reasons with what they cost, and the URLs; pressing one asks why."""
    origin.on("GET /static/*", lambda exchange: exchange.reply(200, {"Cache-Control": "max-age=600", "Set-Cookie": "a=b"}, b"x" * 40000))
    client = Client(proxy)
    for name in ("a", "b", "b"):
        client.get(f"/static/{name}").expect(200)
    wait_until(lambda: Admin(proxy).status()["requests"]["total"] == 3, "all to be counted")
    show(browser, proxy)
    browser.wait_text("#report tbody", "set-cookie")
    row = browser.run("return [...document.querySelector('#report tbody tr').cells].map((cell) => cell.textContent)")
    assert row[1] == "default /static/*" and row[2].startswith("12") and row[2].endswith(" KB") and row[4] == "3", row
    browser.wait_text("#urls tbody tr", "/static/b")
    browser.find("#urls tbody button").click()
    browser.wait_text("#answer .verdict", "Fetched from the origin")
    assert browser.run("return document.getElementById('url').value") == f"http://{HOST}/static/b"


def cells(browser, table):
    """The texts of its rows."""
    return browser.run(f"return [...document.querySelectorAll('{table} tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")


def test_how_sites_are_run(browser, larder, origin):
    """Also of a site that nobody asked for anything; and back."""
    sites = "".join(f'[[site]]\nhosts = "{name}.test"\norigin = "{origin.url}"\n{more}' for name, more in (("a", ""), ("b", 'mode = "offline"\n')))
    proxy = larder(config=f'[admin]\nlisten = "127.0.0.1:0"\n{sites}')
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    Client(proxy, host="a.test").get("/a").expect(200)
    show(browser, proxy)
    browser.wait_text("#sites tbody", "a.test")
    assert sorted(row[:2] for row in cells(browser, "#sites")) == [["a.test", "normal"], ["b.test", "offline"]]
    for mode, shown in (("record", "record, by order"), ("normal", "normal")):
        Admin(proxy).post("/v1/mode", json.dumps({"site": "a.test", "mode": mode}).encode(), {"Content-Type": "application/json"}).expect(200)
        wait_until(lambda shown=shown: ["a.test", shown] in [row[:2] for row in cells(browser, "#sites")], f"the site to be shown as {shown}")


def test_ordering_how_a_site_is_run(browser, larder, origin):
    """With the keyboard alone; of two sites of one name the one that was chosen."""
    site = f'[[site]]\nhosts = "a.test"\norigin = "{origin.url}"\n'
    proxy = larder(config=f'[admin]\nlisten = "127.0.0.1:0"\n{site}{site}path = "/app"\n')

    def modes():
        return {one["path"]: one["mode"] for one in json.loads(Admin(proxy).get("/v1/modes").expect(200).body)["modes"]}

    show(browser, proxy)
    wait_until(lambda: browser.run("return document.getElementById('mode-site').options.length") == 2, "the sites to be there")
    browser.find("#mode-site").send_keys("a.test/app")
    browser.press_tab()
    browser.find("#mode").send_keys("off")
    browser.press_tab()
    assert browser.run("return document.activeElement.textContent") == "Run it so"
    browser.press_enter()
    browser.wait_text("#mode-said", "a.test/app is run offline")
    assert modes() == {"/": "normal", "/app": "offline"}
    browser.wait_text("#sites tbody", "/app offline, by order")
    for label, shown in (("a.test", "normal"), ("a.test/app", "offline")):
        browser.run("const site = document.getElementById('mode-site'); site.value = arguments[0]; site.dispatchEvent(new Event('change'))",
                    label if "/" in label else f"{label}/")
        assert browser.run("return document.getElementById('mode').value") == shown
    browser.find("#mode").send_keys("norm")
    browser.find("#modes [type=submit]").click()
    browser.wait_text("#mode-said", "a.test/app is run normal")
    assert modes() == {"/": "normal", "/app": "normal"}
    assert browser.console() == []


def test_the_configuration_in_force(browser, larder, origin):
    """As it was loaded, whatever stands in the file; after a reload the new one, and what it could not change. No token is shown."""
    config = f'# the first\n[server]\nworkers = 1\n[admin]\nlisten = "127.0.0.1:0"\ntoken = "{TOKEN}"\n[[site]]\norigin = "{origin.url}"\n'
    proxy = larder(config=config)
    file = proxy.directory / "larder.toml"
    browser.open(address(proxy))
    browser.wait_text("#state", "a token is wanted")
    browser.find("#token").send_keys(f"{TOKEN}\n")
    browser.wait_text("#config-file", str(file))
    assert "1 site, 0 rules, 0 tests" in browser.text("#config-holds")
    shown = "return document.getElementById('config-text').textContent"
    text = browser.run(shown)
    assert text.startswith("# the first\n") and 'token = "****************"' in text and TOKEN not in text
    file.write_text(config.replace("first", "second").replace("workers = 1", "workers = 2"), encoding="utf-8")
    assert browser.run(shown) == text
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: browser.run(shown).startswith("# the second"), "the new configuration to be shown")
    assert browser.text("#config-kept") == "server.workers"


def test_what_is_wrong_with_a_url_is_said(browser, proxy):
    show(browser, proxy)
    ask(browser, "ftp://www.example.com/")
    browser.wait_text("#answer .bad", "expected a URL such as http://")


def test_data_is_text(browser, proxy):
    """Markup is shown, not run."""
    markup = "<img src=x onerror=alert(1)>"
    show(browser, proxy)
    browser.find("details summary").click()
    browser.find("#fields").send_keys(f"X-Any: {markup}")
    ask(browser, f"http://{HOST}/")
    browser.wait_text("#answer pre", markup)
    assert browser.run("return document.images.length") == 0 and browser.console() == []


def test_the_token_is_asked_for_and_kept(browser, larder, origin):
    proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:0"\ntoken = "{TOKEN}"\n')
    browser.open(address(proxy))
    browser.wait_text("#state", "a token is wanted")
    browser.find("#token").send_keys("something else\n")
    browser.wait_text("#token-error", "not the token")
    browser.find("#token").send_keys(f"{TOKEN}\n")
    browser.wait_text("#state", "live")
    show(browser, proxy)  # kept as long as the tab
    browser.find("#forget").click()
    browser.wait_text("#state", "a token is wanted")


def test_it_says_that_larder_is_gone_and_comes_back(browser, larder, origin):
    with reserved_port() as port:
        proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:{port}"\n')
        client = Client(proxy)
        origin.expect("GET /a").reply(200, FRESH, b"hello")
        client.get("/a").expect(200)
        show(browser, proxy)
        browser.wait_text("#requests-total", "1, 0 with 5xx")
        proxy.stop()
        browser.wait_text("#state", "larder does not answer")
        proxy.start()
    browser.wait_text("#state", "live")
    browser.wait_text("#requests-total", "0, 0 with 5xx")


@pytest.mark.parametrize("size, dark", [(WIDE, True), (PHONE, False)], ids=["wide, dark", "phone, light"])
def test_it_is_readable_for_everyone(browser, larder, origin, size, dark):
    """Labels, contrast, structure (axe), and nothing beside the screen."""
    recorded = f'[[site]]\nhosts = "a-name-that-is-long.staging.example.com"\norigin = "{origin.url}"\nmode = "record"\n'
    proxy = larder(origin, config=f'[admin]\nlisten = "127.0.0.1:0"\n{recorded}')
    Admin(proxy).post("/v1/mode", b'{"site": "default", "mode": "record"}', {"Content-Type": "application/json"}).expect(200)
    origin.expect("GET /a").reply(200, FRESH, b"hello")
    Client(proxy).get("/a").expect(200)
    browser.shape(size, dark)
    show(browser, proxy)
    ask(browser, f"http://{HOST}/{'long-' * 60}")
    browser.wait_text("#answer .verdict", "Fetched")
    browser.find("#purge-hard").click()
    browser.wait_text("#purges tbody", "long-long-")
    browser.wait_text("#sites tbody", "record, by order")
    browser.find("section:last-of-type summary").click()  # of the configuration: long lines
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return [...document.querySelectorAll('table')].every((table) => table.scrollWidth <= table.parentElement.clientWidth)")


def test_the_keyboard_reaches_everything(browser, proxy):
    show(browser, proxy)
    browser.find("#url").send_keys(f"http://{HOST}/x")
    reached = []
    for _ in range(4):
        reached.append(browser.run("return document.activeElement.id || document.activeElement.textContent"))
        browser.press_tab()
    assert reached == ["url", "Why?", "purge-hard", "purge-soft"]
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


# ---- the browser's own cache, through larder ----


def page(text, style):
    return f'<!doctype html><title>page</title><link rel="stylesheet" href="/{style}"><p id="text">{text}</p>'.encode()


def test_first_visit_reload_and_changed_content(browser, proxy, origin):
    """RFC 9111 §4.3: 200, then 304s made of what is stored, then the new content as soon as the origin has it."""
    state = {"version": 1}

    def answer(exchange):
        etag = f'"v{state["version"]}"'
        fields = {"Content-Type": "text/html", "Cache-Control": "no-cache", "ETag": etag}
        if exchange.request.headers.get("If-None-Match") == etag:
            exchange.reply(304, fields)
        else:
            exchange.reply(200, fields, page(f"version {state['version']}", "style.css"))

    origin.on("GET /page", answer)
    origin.on("GET /favicon.ico", lambda exchange: exchange.reply(404))
    origin.expect("GET /style.css").reply(200, {"Content-Type": "text/css", "ETag": '"s"', "Cache-Control": "max-age=600"}, b"p { color: red }")
    url = f"http://127.0.0.1:{proxy.port}/"

    def visit(expected_page, expected_style, text):
        browser.note()
        browser.open(f"{url}page")
        browser.wait_text("#text", text)
        statuses = dict(browser.note())
        assert statuses[f"{url}page"] == expected_page, statuses
        assert statuses.get(f"{url}style.css") == expected_style, statuses

    visit(200, 200, "version 1")
    wait_until(lambda: Admin(proxy).status()["store"]["objects"] >= 2, "both to be stored")
    browser.note()
    browser.run("location.reload()")
    wait_until(lambda: dict(browser.note()).get(f"{url}page") == 304, "the reload to be answered with 304")
    browser.wait_text("#text", "version 1")
    assert origin.count("/style.css") == 1 and origin.count("/page") == 2
    visit(304, None, "version 1")  # the style comes out of the browser's own cache
    state["version"] = 2
    visit(200, None, "version 2")
    visit(304, None, "version 2")
    outcomes = [(key.split('"')[3], key.split('"')[5]) for key in Admin(proxy).metrics() if key.startswith("larder_requests_total")]
    assert ("stale", "revalidated") in outcomes, outcomes
