"""Bytes and words of a file, changed by chance."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np

Random = np.random.Generator
HUGE = (0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**53 + 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    *(
        "",
        '"',
        '""',
        '"""',
        "'",
        ",",
        ";",
        "\t",
        ":",
        "{",
        "}",
        "@data",
        "#",
        "%",
        "?",
        "NA",
        "nan",
        "-nan",
        "null",
        "~",
        "true",
    ),
    *("inf", "-inf", "1e999", "-1e999", "1e-999", "3.5e38", "0x10", "1_000", "1,5", " 1 ", "+1", "--1", "1e", ".", "٣", "1d5"),
    *("9" * 30, "9" * 400, "1" * 70000, "a" * 70000, "\0", "\ufeff", "\u2028", "\x85", "\x1b[2J", "\u202e", "é", "\U0001f600"),
    *(
        "2020-01-01",
        "2020-13-45",
        "9999-12-31 23:59:59",
        "-1",
        "0",
        "1",
        "1.0",
        "s1",
        "id",
        "time",
        "label",
        "!!python/name:os",
    ),
)
ENCODINGS = ("utf-16", "utf-16-be", "utf-8-sig", "latin-1", "cp1252", "utf-7")


def flipped(random: Random, content: bytes) -> bytes:
    """With one to eight bits flipped."""
    made = bytearray(content)
    for place in random.integers(0, len(made), random.integers(1, 9)):
        made[place] ^= 1 << int(random.integers(8))
    return bytes(made)


def overwritten(random: Random, content: bytes) -> bytes:
    """With some bytes in a row that are others."""
    first = int(random.integers(len(content)))
    count = int(random.integers(1, 33))
    return content[:first] + random.bytes(count) + content[first + count :]


def cut(random: Random, content: bytes) -> bytes:
    """The beginning, or the end."""
    place = int(random.integers(len(content) + 1))
    return content[:place] if random.integers(4) else content[place:]


def taken_out(random: Random, content: bytes) -> bytes:
    """Without a piece."""
    first, last = sorted(random.integers(0, len(content) + 1, 2).tolist())
    last = min(last, first + int(random.integers(1, 200)))
    return content[:first] + content[last:]


def repeated(random: Random, content: bytes) -> bytes:
    """With a piece that stands there several times."""
    first = int(random.integers(len(content)))
    piece = content[first : first + int(random.integers(1, 300))]
    return content[:first] + piece * int(random.integers(2, 20)) + content[first:]


def with_a_number(random: Random, content: bytes) -> bytes:
    """With a number of 1 to 8 bytes that is a limit of something."""
    number, kind = HUGE[random.integers(len(HUGE))], "<>"[random.integers(2)] + "BHIQ"[random.integers(4)]
    size = struct.calcsize(kind)
    packed = struct.pack(kind, number % 2 ** (8 * size))
    # sizes and counts stand at the beginning and at the end of a file
    most = len(content) if random.integers(2) else min(64, len(content))
    first = int(random.integers(most))
    first = len(content) - 1 - first if random.integers(3) == 0 else first
    return content[:first] + packed + content[first + size :]


def with_a_varint(random: Random, content: bytes) -> bytes:
    """With a number of Thrift or protobuf, of seven bits a byte."""
    number, packed = HUGE[random.integers(len(HUGE))], bytearray()
    while number >= 128:
        packed.append(number & 127 | 128)
        number >>= 7
    packed.append(number)
    first = int(random.integers(len(content)))
    return content[:first] + bytes(packed) + content[first + int(random.integers(1, 4)) :]


def with_other_words(random: Random, content: bytes) -> bytes:
    """With one to four words of the text that are others."""
    for _ in range(random.integers(1, 5)):
        places = [found.span() for found in re.finditer(rb"[^,;:\s{}]+|[,;:\s{}]", content)]
        if places:
            first, last = places[random.integers(len(places))]
            content = content[:first] + WORDS[random.integers(len(WORDS))].encode() + content[last:]
    return content


def with_other_digits(random: Random, content: bytes) -> bytes:
    """With digits, signs and points that are others, so that most numbers stay numbers."""
    made = bytearray(content)
    places = [place for place, byte in enumerate(content) if byte in b"0123456789.-+e"]
    for place in random.choice(places, int(random.integers(1, 5))) if places else ():
        made[place] = b"0123456789.-+e"[random.integers(10 if random.integers(3) else 14)]
    return bytes(made)


def with_other_lines(random: Random, content: bytes) -> bytes:
    """With lines that are left out, doubled, joined or put elsewhere."""
    lines = content.split(b"\n")
    for _ in range(random.integers(1, 4)):
        place, other = random.integers(0, len(lines), 2).tolist()
        match random.integers(5):
            case 0:
                lines.pop(place)
            case 1:
                lines.insert(other, lines[place])
            case 2:
                lines[place], lines[other] = lines[other], lines[place]
            case 3:
                lines[place : place + 2] = [b"".join(lines[place : place + 2])]
            case _:
                lines.insert(place, b"")
        lines = lines or [b""]
    return random.choice(np.array([b"\n", b"\r\n", b"\r"], object)).join(lines)


def encoded(random: Random, content: bytes) -> bytes:
    """In another encoding."""
    return content.decode("utf-8", "replace").encode(ENCODINGS[random.integers(len(ENCODINGS))], "replace")


BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(flipped, overwritten, cut, taken_out, repeated, with_a_number, with_a_varint),
)
TEXT = (*BYTES, *[with_other_words] * 4, *[with_other_digits] * 3, *[with_other_lines] * 2, encoded)


def spliced(random: Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    return content[: random.integers(len(content) + 1)] + other[random.integers(len(other) + 1) :]


def damaged(random: Random, content: bytes, other: bytes, text: bool) -> bytes:
    """``content`` after one to three changes; ``other``: of another file of the format."""
    kinds = TEXT if text else BYTES
    for _ in range(random.choice([1, 1, 1, 1, 1, 2, 3])):
        if not content:
            return content
        if not random.integers(12):
            content = spliced(random, content, other)
        else:
            content = kinds[random.integers(len(kinds))](random, content)
    return content
