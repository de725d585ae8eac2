#!/usr/bin/python3
"""Writes what a shell needs to complete the command line of larder: completions.py bash|zsh|fish DESCRIPTION

One list for all three: of each command its words and its flags, and what may follow a flag.
"""

import sys

from description import load


def choices(flag, description):
    """What may follow a flag: a list of words, "file", "directory", or None for anything else."""
    value = flag["value"]
    if value == "LEVEL":
        keys = [key for section in description["sections"] for key in section["keys"]]
        return next(key["words"] for key in keys if key["name"] == "log_level")
    if value in ("FILE", "DIR"):
        return {"FILE": "file", "DIR": "directory"}[value]
    if "|" in value:
        words = value.split("|")
        return "file" if "PATH" in words else words
    return None


def word_of(command, description):
    """What a word that is no flag may be."""
    if command["name"] == "help":
        return [other["name"] for other in description["commands"]]
    if command.get("verbs"):
        return [verb["name"] for verb in command["verbs"]]
    return "file" if "FILE" in command.get("arguments", command.get("word", "")).split() else None


def contexts(description):
    """(words that lead here, command or verb) for every command, and every verb of store."""
    for command in description["commands"]:
        yield [command["name"]], command
        for verb in command["verbs"]:
            yield [command["name"], verb["name"]], verb


# --- bash -----------------------------------------------------------------------------------------------------------------------


def bash_candidates(what):
    if what == "file":
        return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")'
    if what == "directory":
        return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word")'
    if what is None:
        return "COMPREPLY=()"
    return f"""mapfile -t COMPREPLY < <(compgen -W '{" ".join(what)}' -- "$word")"""


def bash(description):
    values, flags, words = [], [], []
    for path, command in contexts(description):
        context = " ".join(path)
        for flag in command["flags"]:
            if flag["value"]:
                values.append(f"    '{context} {flag['name']}') {bash_candidates(choices(flag, description))}; return ;;")
        names = " ".join([*(flag["name"] for flag in command["flags"]), "--help"])
        flags.append(f"    '{context}') {bash_candidates(names.split())} ;;")
        words.append(f"    '{context}') {bash_candidates(word_of(command, description))} ;;")
    commands = " ".join(command["name"] for command in description["commands"])
    verbs = "|".join(verb["name"] for command in description["commands"] for verb in command["verbs"])
    newline = "\n"
    return f"""# bash completion for larder
_larder()
{{
    local IFS=$' \\t\\n' word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} context
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '{commands}' -- "$word")
        return
    fi
    context=${{COMP_WORDS[1]}}
    if ((COMP_CWORD > 2)) && [[ $context == store && ${{COMP_WORDS[2]}} =~ ^({verbs})$ ]]; then
        context+=" ${{COMP_WORDS[2]}}"
    fi
    case "$context $before" in
{newline.join(values)}
    esac
    if [[ $word == -* ]]; then
        case $context in
{newline.join(flags)}
        esac
        return
    fi
    case $context in
{newline.join(words)}
    esac
}}
complete -F _larder larder
"""


# --- zsh ------------------------------------------------------------------------------------------------------------------------


def zsh_text(text):
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text.replace("'", "'\\''")


def zsh_action(what):
    if what == "file":
        return "_files"
    if what == "directory":
        return "_files -/"
    return " " if what is None else f"({' '.join(what)})"


def zsh_arguments(command, description):
    lines = []
    for flag in command["flags"]:
        value = f":{zsh_text(flag['value'])}:{zsh_action(choices(flag, description))}" if flag["value"] else ""
        lines.append(f"'*{flag['name']}[{zsh_text(flag['text'])}]{value}'")
    lines.append(f"'*:word:{zsh_action(word_of(command, description))}'")
    return " ".join(lines)


def zsh(description):
    cases = [f"    '{' '.join(path)}') _arguments {zsh_arguments(command, description)} ;;" for path, command in contexts(description)]
    commands = "\n".join(f"        '{zsh_text(command['name'])}:{zsh_text(command['summary'])}'" for command in description["commands"])
    verbs = "|".join(verb["name"] for command in description["commands"] for verb in command["verbs"])
    newline = "\n"
    return f"""#compdef larder
_larder()
{{
    local context
    local -a commands=(
{commands}
    )
    if ((CURRENT == 2)); then
        _describe 'command' commands
        return
    fi
    context=$words[2]
    shift words
    ((CURRENT--))
    if [[ $context == store && $words[2] == ({verbs}) ]] && ((CURRENT > 2)); then
        context+=" $words[2]"
        shift words
        ((CURRENT--))
    fi
    case $context in
{newline.join(cases)}
    esac
}}
_larder "$@"
"""


# --- fish -----------------------------------------------------------------------------------------------------------------------


def fish_text(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_candidates(what):
    if what == "file":
        return " -F"
    if what == "directory":
        return " -a '(__fish_complete_directories)'"
    return "" if what is None else f" -a {fish_text(' '.join(what))}"


def fish(description):
    lines = ["# fish completion for larder", "complete -c larder -f"]
    for command in description["commands"]:
        lines.append(f"complete -c larder -n __fish_use_subcommand -a {command['name']} -d {fish_text(command['summary'])}")
    for path, command in contexts(description):
        condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        if command.get("verbs"):
            condition += f"; and not __fish_seen_subcommand_from {' '.join(verb['name'] for verb in command['verbs'])}"
        lines.append(f"complete -c larder -n '{condition}'{fish_candidates(word_of(command, description))}" if word_of(command, description) else "")
        for flag in command["flags"]:
            name = f"-l {flag['name'][2:]}" if flag["name"].startswith("--") else f"-s {flag['name'][1:]}"
            what = choices(flag, description)
            value = f" -{'r' if what == 'file' else 'x'}{fish_candidates(what)}" if flag["value"] else ""
            lines.append(f"complete -c larder -n '{condition}' {name}{value} -d {fish_text(flag['text'])}")
    return "\n".join(line for line in lines if line) + "\n"


def main():
    print({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]](load(sys.argv[2])), end="")


if __name__ == "__main__":
    main()
