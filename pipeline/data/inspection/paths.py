"""What the paths of recordings may say: their class, and of whom each is."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.data.inspection import names
from pipeline.data.readers.folders import Folder
from pipeline.data.readers.text_files import stem
from pipeline.errors import some

SEPARATORS = ("_", "-", ".", " ")
MOST_WORDS = 4  # of a name that are looked at
MOST_CLASSES = 50
FEW_CLASSES = 10  # that may have a file each
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


def persons(folder: Folder) -> str:
    """What ``data.recordings`` is where the folders of two levels say class and person, and those of persons merely count; else
    "". So many persons are needed that some can be held out."""
    files = [name.split("/") for name in folder.files]
    if len({*map(len, files)}) > 1 or len(files[0]) < 3:
        return ""
    above, below, *_ = zip(*files, strict=True)
    rest = "/ANY" * (len(files[0]) - 2)
    for form, counted, others in ((f"GROUP/LABEL{rest}", above, below), (f"LABEL/GROUP{rest}", below, above)):
        counts = len(_letters(counted)) == 1 and len({*counted}) > 2
        if counts and len(_letters(others)) > 1 and _may_be_persons(others, counted):
            return form
    return ""


def of_classes(folder: Folder) -> str:
    """What ``data.recordings`` is where the names of files that lie side by side may say their class, and their person; else
    "". A class has several files, or each file is one."""
    stems = [stem(folder.path / name) for name in folder.files]
    parts = _parts(stems)
    fitting = {where: words for where, words in parts.items() if _may_be_classes(words)}
    if not fitting:
        return "LABEL" if len(stems) <= FEW_CLASSES and len(_letters(stems)) == len(stems) > 1 else ""
    separator, count, place = min(fitting, key=lambda where: len({*fitting[where]}))
    roles = {place: "LABEL"}
    for (other, several, where), words in parts.items():
        alike = (other, several) == (separator, count) and where != place and len(_letters(words)) > 1
        if alike and len(roles) == 1 and _may_be_persons(fitting[separator, count, place], words):
            roles[where] = "GROUP"
    return separator.join(roles.get(number, "ANY") for number in range(count))


def _parts(stems: list[str]) -> dict[tuple[str, int, int], list[str]]:
    """The words that names are made of: by separator, number of words, and place among them. The last holds the rest."""
    found = {}
    for separator in SEPARATORS:
        count = min(min(name.count(separator) for name in stems) + 1, MOST_WORDS)
        cut = [name.split(separator, count - 1) for name in stems]
        for place in range(count if count > 1 else 0):
            found[separator, count, place] = [parts[place] for parts in cut]
    return found


def _of_names(folder: Folder) -> list[str]:
    labels, stems = list(folder.labels or ()), [stem(folder.path / name) for name in folder.files]
    forms = {
        separator.join("GROUP" if number == place else "ANY" for number in range(count)): words
        for (separator, count, place), words in _parts(stems).items()
    }
    fitting = [(form, words) for form, words in {**forms, "GROUP": stems}.items() if _may_be_persons(labels, words)]
    if not fitting:
        return []
    form, words = min(fitting, key=lambda one: len(_letters(one[1])) == 1)  # rather names than what counts
    return [
        f"words in the names of files come again in several classes ({some(sorted({*words}))}): if these are persons or "
        f"devices, type data.recordings={shlex.quote(f'LABEL/{form}')}, and {KEPT}"
    ]


def _letters(words: Iterable[str]) -> set[str]:
    return {re.sub(r"\d+", "", word) for word in words}


def _may_be_classes(words: list[str]) -> bool:
    """Whether there are few words, each of several files, that do not merely count."""
    counts = Counter(words)
    few = 2 <= len(counts) <= MOST_CLASSES and min(counts.values()) > 1
    return few and len(_letters(counts)) == len(counts) and "" not in _letters(counts)


def _may_be_persons(labels: Sequence[str], words: Sequence[str]) -> bool:
    """Whether there are several words, most of them in several classes; what merely counts must come again within a class."""
    pairs = Counter(zip(labels, words, strict=True))
    classes = Counter(word for _, word in pairs)
    if "" in classes or not 2 <= len(classes) < len(words):
        return False
    if 2 * sum(number > 1 for number in classes.values()) < len(classes):
        return False
    letters = _letters(words)
    return len(letters) > 1 or max(pairs.values()) > 1 or names.means(letters.pop(), names.GROUP)
