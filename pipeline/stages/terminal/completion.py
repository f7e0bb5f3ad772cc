"""Completion of a command line by bash, zsh and fish: they ask this program what may stand at the cursor."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UserError, some
from pipeline.stages.terminal.commands import TARGETS

Found = Iterator[tuple[str, str]]  # what may stand there, and what it is
FILES = ("--test", "--output", "--launch")  # options whose values are files, which a shell finds by itself
BEFORE = ("sequence-pipeline", "pipeline")  # the last word of how this program is called

BASH = """\
# bash: source <(PROGRAM completion bash)
_sequence_pipeline() {
    local line="${COMP_LINE:0:COMP_POINT}" found
    case "$line" in
        *sequence-pipeline\\ *) set -- "${COMP_WORDS[0]}" ;;
        *-m\\ pipeline\\ *) set -- "${COMP_WORDS[0]}" -m pipeline ;;
        *) COMPREPLY=(); return ;;
    esac
    COMPREPLY=()
    while IFS=$'\\t' read -r found _; do
        [[ $COMP_WORDBREAKS == *=* && $found == *=?* ]] && found="${found#*=}"
        COMPREPLY+=("$found")
    done < <("$@" completion bash --line "$line" 2>/dev/null)
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _sequence_pipeline sequence-pipeline python python3
"""
ZSH = """\
# zsh: source <(PROGRAM completion zsh)
_sequence_pipeline() {
    local -a program found open
    local name what
    case "$LBUFFER" in
        (*sequence-pipeline\\ *) program=($words[1]) ;;
        (*-m\\ pipeline\\ *) program=($words[1] -m pipeline) ;;
        (*) _files; return ;;
    esac
    while IFS=$'\\t' read -r name what; do
        [[ $name == *[=./] ]] && open+=("$name") || found+=("$name")
    done < <($program completion zsh --line "$LBUFFER" 2>/dev/null)
    (( $#open + $#found )) || { _files; return }
    compadd -S '' -a open
    compadd -a found
}
compdef _sequence_pipeline sequence-pipeline python python3
"""
FISH = """\
# fish: PROGRAM completion fish | source
function __sequence_pipeline
    set -l line (commandline -cp | string collect)
    set -l program (commandline -opc)[1]
    string match -q "*-m pipeline *" -- $line; and set -a program -m pipeline
    $program completion fish --line "$line" 2>/dev/null
end
complete -c sequence-pipeline -f -a "(__sequence_pipeline)"
for name in python python3
    complete -c $name -n 'string match -q "*-m pipeline *" -- (commandline -cp)' -f -a "(__sequence_pipeline)"
end
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str) -> str:
    """What a shell reads to complete the commands of this program. Raises UserError for another shell."""
    if shell not in SHELLS:
        raise UserError(f"completion {shell}: expected one of {some(SHELLS)}; type: python -m pipeline completion bash")
    return SHELLS[shell]


def candidates(commands: dict[str, Any], line: str) -> list[str]:
    """Lines of a word that may stand at the end of ``line``, a tab and what it is; none where a file is wanted."""
    words = _words(line)
    begun = words.pop() if words else ""
    return [f"{word}\t{what}" if what else word for word, what in _possible(commands, words, begun) if word.startswith(begun)]


def _words(line: str) -> list[str]:
    """The words after the program; the last one is that at the cursor, which may be empty."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is open
        words = line.split()
    words += [""] * line.endswith(" ")
    first = next((number for number, word in enumerate(words) if Path(word).name in BEFORE), 0)
    return words[first + 1 :]


def _possible(commands: dict[str, Any], words: list[str], begun: str) -> Found:
    if not words:
        yield from ((name, (command.help or "").partition("\n")[0]) for name, command in commands.items())
        yield from (("--help", ""), ("--version", ""))
        return
    command, before = commands.get(TARGETS.get(words[0], words[0])), words[-1]
    if command is None:
        return
    options = {name: option for option in command.params for name in option.opts if name.startswith("-")}
    given = {word.partition("=")[0] for word in words}
    configured = "--config" in given or any(word.endswith((".yaml", ".yml")) for word in words)
    if before in options and not getattr(options[before], "is_flag", False):
        yield from _values(before, begun)
    elif begun.startswith("-"):
        shown = [name for name in options if name.startswith("--") and not getattr(options[name], "hidden", False)]
        yield from ((name, options[name].help or "") for name in shown if name not in given)
        yield "--help", "What may be typed."
    elif "--run" in options and not configured:
        yield from _values("--run", begun) if len(words) == 1 else ()
    elif "--config" in options:
        yield from _keys(begun)
        yield from () if configured else _values("--config", begun)
    elif words[0] == "keys":
        yield from ((name.partition("=")[0], what) for name, what in _keys(begun))
    elif words[0] == "completion":
        yield from ((shell, "") for shell in SHELLS)


def _values(option: str, begun: str) -> Found:
    """The values of an option, where they are not any file."""
    if option == "--config":
        yield from ((str(path), "") for folder in ("configs", ".") for path in sorted(Path(folder).glob("[!.]*.yaml")))
        yield from ((str(path), "") for path in sorted(Path(begun).parent.glob("*.yaml")) if "/" in begun)
    elif option in ("--run", "--model", "--delete"):
        folders = sorted(path.parent for path in Path("runs").glob("*/config.yaml"))
        yield from ((str(folder / "export") if option == "--model" else str(folder), "") for folder in folders)
    elif option == "--split":
        yield from ((split, "") for split in ("train", "valid", "test"))


def _keys(begun: str) -> Found:
    """Sections; after a dot the keys of one; after = the values of a key, where they are few."""
    from pipeline import config

    name, equals, _ = begun.partition("=")
    if "." not in name and not equals:
        yield from ((f"{section}.", what) for section, what in config.purposes().items())
        return
    for meaning in config.meanings():
        if equals and name in (meaning.name, meaning.name.partition(".")[2]):
            yield from ((f"{name}={choice}", "") for choice in meaning.choices)
        elif not equals:
            yield f"{meaning.name}=", meaning.what.replace("`", "")
