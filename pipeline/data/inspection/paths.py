"""What the paths of recordings that lie in a folder per class may say besides the class: of whom each is."""

from __future__ import annotations

import re
import shlex
from collections import Counter

from pipeline.data.inspection import names
from pipeline.data.readers.folders import Folder
from pipeline.data.readers.text_files import stem
from pipeline.errors import some

SEPARATORS = ("_", "-", ".", " ")
MOST_WORDS = 4  # of a name that are looked at
KEPT = "no one is in two splits then"


def said(folder: Folder) -> list[str]:
    """A line about folders below those of the classes, or words in the names of files, that come again in several classes."""
    depths = {name.count("/") for name in folder.files}
    if depths == {1}:
        return _of_names(folder)
    below: dict[str, set[str]] = {one: set() for one in folder.classes}
    for one, *inner, _ in (name.split("/") for name in folder.files):
        below[one].update(inner[:1])
    shared = sorted(set.intersection(*below.values()))
    if len(shared) < 2:
        return []
    rest = "/ANY" * (max(depths) - 1)
    equal = "" if len(depths) == 1 else ", once all files lie equally deep"
    return [
        f"each class has the folders {some(shared)}: if these are persons or devices, type data.recordings=LABEL/GROUP{rest}, "
        f"and {KEPT}; if they are the classes, data.recordings=GROUP/LABEL{rest}{equal}"
    ]


def _of_names(folder: Folder) -> list[str]:
    files = [name.split("/") for name in folder.files]
    labels, stems = [label for label, _ in files], [stem(folder.path / name) for _, name in files]
    forms = dict[str, list[str]]()
    for separator in SEPARATORS:
        count = min(min(name.count(separator) for name in stems) + 1, MOST_WORDS)
        cut = [name.split(separator, count - 1) for name in stems]
        for place in range(count if count > 1 else 0):
            words = ["ANY"] * count
            words[place] = "GROUP"
            forms[separator.join(words)] = [parts[place] for parts in cut]
    fitting = [(form, words) for form, words in {**forms, "GROUP": stems}.items() if _may_be_persons(labels, words)]
    if not fitting:
        return []
    form, words = min(fitting, key=lambda one: len(_letters(one[1])) == 1)  # rather names than what counts
    return [
        f"words in the names of files come again in several classes ({some(sorted({*words}))}): if these are persons or "
        f"devices, type data.recordings={shlex.quote(f'LABEL/{form}')}, and {KEPT}"
    ]


def _letters(words: list[str]) -> set[str]:
    return {re.sub(r"\d+", "", word) for word in words}


def _may_be_persons(labels: list[str], words: list[str]) -> bool:
    """Whether there are several words, most of them in several classes; what merely counts must come again within a class."""
    pairs = Counter(zip(labels, words, strict=True))
    classes = Counter(word for _, word in pairs)
    if "" in classes or not 2 <= len(classes) < len(words):
        return False
    if 2 * sum(number > 1 for number in classes.values()) < len(classes):
        return False
    letters = _letters(words)
    return len(letters) > 1 or max(pairs.values()) > 1 or names.means(letters.pop(), names.GROUP)
