"""What is made of the program's own tables: manual pages, completions, and the schema of the configuration."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from xml.etree import ElementTree

import pytest
from support.proxy import LARDER, ROOT, run_larder

jsonschema = pytest.importorskip("jsonschema")

DOCUMENTS = LARDER.parent / "proxy" / "doc"
DESCRIPTION = json.loads((DOCUMENTS / "description.json").read_text(encoding="utf-8"))
PAGES = ["larder.1", "larder.toml.5"]


# --- manual pages ---------------------------------------------------------------------------------------------------------------


def rendered(page):
    """The page as a reader sees it, in one line, without hyphenation."""
    environment = {**os.environ, "MANWIDTH": "1000", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["man", "--no-hyphenation", "-l", DOCUMENTS / page], capture_output=True, text=True, check=True, timeout=60, env=environment)
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", done.stdout).replace("‐", "-").replace("−", "-"))


@pytest.mark.parametrize("page", PAGES)
def test_manual_pages_are_well_formed(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", DOCUMENTS / page], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run(["man", "--warnings", "-Tutf8", "-Z", "-l", DOCUMENTS / page], capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert (done.returncode, done.stderr) == (0, "")


def test_every_flag_is_in_the_manual():
    """Each that `larder help COMMAND` shows, with what it says there."""
    manual = rendered("larder.1")
    commands = re.findall(r"(?m)^  larder (\w+) ", run_larder("help")[1])
    assert len(commands) > 8
    for command in commands:
        assert f"larder {command}" in manual
        for flag, text in re.findall(r"(?m)^  (-\S+)(?: \S+)*?  +(\S.*)$", run_larder("help", command)[1]):
            assert flag in manual, f"{command} {flag}"
            assert re.sub(r" \([a-z, ]*\)$", "", text)[1:] in manual, text


def test_every_setting_is_in_the_manual():
    manual = rendered("larder.toml.5")
    for table, settings in re.findall(r"(?ms)^#?\[+([a-z_.]+)\]+$(.*?)(?=^#?\[|\Z)", (ROOT / "config.example.toml").read_text(encoding="utf-8")):
        assert f"[{table}]" in manual
        for name in re.findall(r"(?m)^#?([a-z_0-9]+) = ", settings):
            assert f" {name} " in manual, f"{table}.{name}"


# --- completions ----------------------------------------------------------------------------------------------------------------


def complete(line, directory=ROOT):
    """What bash would offer at the end of the line."""
    script = """
    source "$1"
    read -ra COMP_WORDS <<<"$2"
    [[ $2 != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    compopt() { :; }
    _larder
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", DOCUMENTS / "larder", line], capture_output=True, text=True, check=True, timeout=60, cwd=directory)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("line, want", [
    ("larder se", ["serve"]),
    ("larder serve --pro", ["--profile"]),
    ("larder serve --profile ", ["safe", "rfc"]),
    ("larder serve --log-level w", ["warn"]),
    ("larder serve --config config.ex", ["config.example.toml"]),
    ("larder check config.ex", ["config.example.toml"]),
    ("larder serve --cache-dir pro", ["proxy"]),
    ("larder serve --workers ", [""]),
    ("larder store com", ["compact"]),
    ("larder store get --he", ["--head", "--help"]),
    ("larder store check --he", ["--help"]),
    ("larder help pur", ["purge", "purges"]),
])
def test_bash_completes(line, want):
    assert complete(line) == want


def test_file_names_with_spaces_complete(tmp_path):
    (tmp_path / "a b.toml").touch()
    assert complete("larder check a", tmp_path) == ["a b.toml"]


def test_bash_completes_every_command_and_flag():
    assert complete("larder ") == [command["name"] for command in DESCRIPTION["commands"]]
    for command in DESCRIPTION["commands"]:
        for path, one in [(command["name"], command)] + [(f"{command['name']} {verb['name']}", verb) for verb in command["verbs"]]:
            assert complete(f"larder {path} -") == [flag["name"] for flag in one["flags"]] + ["--help"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is missing")
@pytest.mark.parametrize("line, want", [
    ("larder se", {"serve"}),
    ("larder serve --profile ", {"safe", "rfc"}),
    ("larder store get --he", {"--head"}),
    ("larder help pur", {"purge", "purges"}),
])
def test_fish_completes(tmp_path, line, want):
    done = subprocess.run(["fish", "--no-config", "-c", f"source {DOCUMENTS / 'larder.fish'}; complete -C '{line}'"], capture_output=True, text=True, check=True,
                          timeout=60, env={**os.environ, "HOME": str(tmp_path)}, cwd=tmp_path)
    assert {word.split("\t")[0] for word in done.stdout.splitlines()} == want


@pytest.mark.parametrize("shell, file", [("bash", "larder"), ("zsh", "_larder"), ("fish", "larder.fish")])
def test_the_shell_can_read_it(shell, file):
    try:
        done = subprocess.run([shell, "-n", DOCUMENTS / file], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{shell} is missing")
    assert (done.returncode, done.stderr) == (0, "")


# --- the schema -----------------------------------------------------------------------------------------------------------------

SCHEMA = json.loads((DOCUMENTS / "larder.schema.json").read_text(encoding="utf-8"))
SITE = '[[site]]\norigin = "http://127.0.0.1:3000"\n'
TEST = '[[test]]\nname = "t"\nrequest = "GET http://a/"\n'


def complaints(text):
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(tomllib.loads(text))]


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_example_fits_as_it_is_and_with_every_setting_set():
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    assert complaints(text) == []
    assert complaints(re.sub(r"(?m)^#(?=[a-z\[])", "", text)) == []


def test_everything_is_described():
    def walk(schema, path):
        for name, inner in schema.get("properties", {}).items():
            choices = [inner, *inner.get("anyOf", [])]
            tables = [one.get("items", one) for one in choices if "properties" in one.get("items", one)]
            assert tables or inner["description"], f"{path}{name}"
            for table in tables:
                walk(table, f"{path}{name}.")

    walk(SCHEMA, "")


@pytest.mark.parametrize("text", [
    "[server]\nlisten = 5\n" + SITE,
    "[server]\nlistenn = ':80'\n" + SITE,
    "[server]\nworkers = 0\n" + SITE,
    "[server]\nworkers = '4'\n" + SITE,
    "[server]\nlog_level = 'loud'\n" + SITE,
    "[server]\ntrust_forwarded = 'yes'\n" + SITE,
    "[server]\ntrust_forwarded = ['10.0.0.0/8', 'front.test']\n" + SITE,
    "[[site]]\norigin = 'http://127.0.0.1:3000'\npurge_from = 'localhost'\n",
    "[server.timeouts]\nclient_head = '10'\n" + SITE,
    "[server.timeouts]\nclient_head = '10 weeks'\n" + SITE,
    "[server.timeouts]\nclient_head = 0\n" + SITE,
    "[server.limits]\nhead = '1 KiBi'\n" + SITE,
    "[cache]\nsize = 1024\n" + SITE,
    "[cache]\nprofile = 'both'\n" + SITE,
    "[other]\n" + SITE,
    "[[site]]\nhosts = 'a'\n",
    "[site]\norigin = 'http://127.0.0.1:3000'\n",
    "[[site]]\n[[site.origin]]\nweight = 1\n",
    "[[site]]\n[[site.origin]]\nurl = 'http://127.0.0.1:3000'\nweight = 0\n",
    SITE + "[site.health_check]\ninterval = '5s'\n",
    SITE + "[[site.rule]]\nname = 'a'\nrate_limit = '10/w'\n",
    SITE + "[[site.rule]]\nname = 'a'\nmin_uses = 101\n",
    SITE + "[[site.rule]]\nname = 'a'\nstatuses = [99]\n",
    SITE + "[[test]]\nname = 't'\n",
    SITE + "[[test]]\nrequest = 'GET http://a/'\n",
    SITE + TEST + "expect = { reason = 'because' }\n",
])
def test_what_larder_refuses_does_not_fit(tmp_path, text):
    file = tmp_path / "larder.toml"
    file.write_text(text, encoding="utf-8")
    assert run_larder("check", file)[0] == 2
    assert complaints(text) != []


@pytest.mark.parametrize("text", [
    SITE + "[[site.rule]]\nname = 'a'\nttl = 60\nstatuses = 404\n[[site.rule]]\nname = 'b'\nstrip_query = 'a'\nstale_if_slow = '0'\n",
    "[server]\nlisten = [':8080', 'unix:/run/larder']\n[cache]\nsize = 1073741824\n" + SITE,
    "[[site]]\norigin = ['http://127.0.0.1:3000', 'http://127.0.0.1:3001']\n",
    "[[site]]\n[[site.origin]]\nurl = 'http://127.0.0.1:3000'\n",
    SITE + "[[site.rule]]\nname = 'a'\npath = '/a'\nrate_limit = 'off'\n[[site.rule]]\nname = 'b'\nrate_limit = '10/m'\n",
    SITE + TEST + "expect = { answer = 'fetch', reason = 'uri-miss' }\n",
])
def test_what_larder_takes_fits(tmp_path, text):
    file = tmp_path / "larder.toml"
    file.write_text(text, encoding="utf-8")
    code, _, errors = run_larder("check", file)
    assert code == 0 or "test " in errors, errors
    assert complaints(text) == []


# --- README ---------------------------------------------------------------------------------------------------------------------


def test_settings_beside_those_of_others_exist():
    """The tables for those who come from nginx and Varnish name settings that there are."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"(?ms)^## Coming from nginx or Varnish$(.*?)^## ", text)[1]
    keys = {key["name"] for section in DESCRIPTION["sections"] for key in section["keys"]}
    named = {name for row in re.findall(r"(?m)^\|[^|]*\|(.*)\|$", section) for name in re.findall(r"`([a-z_]+)(?: =[^`]*)?`", row)}
    assert len(named) > 30
    assert named - keys == set()


def readme_rules():
    """Every rule in the configurations that README.md shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"(?ms)^### Every setting of a rule.*?$(.*?)^### ", text)[1]
    for snippet in re.findall(r"(?ms)^cat >\S+ <<'TOML'\n(.*?)^TOML$", section):
        for site in tomllib.loads(snippet)["site"]:
            yield from site["rule"]


def test_every_setting_of_a_rule_has_an_example():
    keys = {key["name"] for section in DESCRIPTION["sections"] if section["path"] == "site.rule" for key in section["keys"]}
    assert {name for rule in readme_rules() for name in rule} == keys
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"(?ms)^### Every setting of a rule.*?$(.*?)^### ", text)[1]
    assert keys - {"name"} == set(re.findall(r"`([a-z_]+)`", section)), "and is in a sentence above it"


def test_the_picture_says_what_larder_says():
    """Words of Cache-Status that there are; readable with any theme."""
    picture = ElementTree.parse(ROOT / "proxy" / "doc" / "request.svg").getroot()
    words = [element.text for element in picture.iter() if element.get("class") == "word"]
    assert len(words) > 10
    for detail in re.findall(r"detail=([a-z-]+)", " ".join(words)):
        assert run_larder("why", detail)[0] == 0, detail
    assert {word for text in words for word in re.findall(r"fwd=([a-z-]+)", text)} <= {"uri-miss", "vary-miss", "stale", "method", "bypass"}
    assert "prefers-color-scheme: dark" in "".join(picture.itertext())


def flags_of(command):
    """Of a command and of what it can do: {"--config", …}."""
    known = next(one for one in DESCRIPTION["commands"] if one["name"] == command)
    return {flag["name"] for one in [known, *known["verbs"]] for flag in one["flags"]}


def readme_blocks():
    return re.findall(r"(?ms)^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_usage_in_the_readme_is_the_programs():
    """Every command with all of its flags; of store, whose verbs have their own, the commands alone."""
    usage = next(text for _, text in readme_blocks() if text.startswith("larder serve ["))
    told = {}
    for line in re.sub(r"\n +", " ", usage).splitlines():
        command = line.split()[1]
        told[command] = set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", line))
    assert {*told, "help"} == {command["name"] for command in DESCRIPTION["commands"]}
    for command in set(told) - {"store", "version"}:
        assert told[command] == flags_of(command) - {"-c"}, command


def test_commands_in_the_readme_have_flags_that_there_are():
    """Also of those that the tests cannot run: they go on until Ctrl-C, or need root."""
    seen = 0
    for language, text in readme_blocks():
        for command, rest in re.findall(r"(?m)\blarder ([a-z]+)\b([^|\n]*(?:\\\n[^\n]*)*)", text if language in ("sh", "console") else ""):
            if command in {one["name"] for one in DESCRIPTION["commands"]}:
                seen += 1
                assert set(re.findall(r"(?<= )--?[A-Za-z][a-z-]*", rest)) <= flags_of(command) | {"--help"}, f"larder {command}{rest}"
    assert seen > 30
