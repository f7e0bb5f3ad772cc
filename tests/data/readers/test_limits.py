"""Whatever sizes a file states or unpacks to, it ends in one message, in bounded memory; and no word holds what nobody sees."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.data.readers import formats, limits
from pipeline.data.readers import ts as ts_reader
from pipeline.data.readers.tables import parquet_sizes, row_order
from pipeline.data.series import Columns, refuse_unfit
from pipeline.errors import HIDDEN, DataError, quoted, short, some
from tests.support.series_files import WRITERS, examples, read

HOSTILE = """
import json, re, resource, sys
from pathlib import Path
from pipeline.data.readers import formats
from pipeline.data.series import Columns
from pipeline.errors import DataError
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
said = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        layout = "wide" if "wide" in path.name else "long"
        said[path.name] = f"read: {sum(map(len, formats.read(path.suffix[1:], path, Columns(layout=layout))))}"
    except DataError as error:
        said[path.name] = str(error)
most = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([said, int(most[1]) / 2**20]))
"""


def zeros(path: Path, shape: str, size: int, kind: str = "|u1", **others: np.ndarray) -> None:
    """An .npz whose array ``values`` is ``size`` zero bytes, packed a thousand times smaller."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        with made.open("values.npy", "w") as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
            for _ in range(size // 10**7):
                file.write(bytes(10**7))
        for name, array in others.items():
            stored = io.BytesIO()
            np.save(stored, array)
            made.writestr(f"{name}.npy", stored.getvalue())


def test_small_files_of_great_claims_end_in_one_message_each_in_bounded_memory(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    few = np.zeros(2, np.uint8)
    zeros(folder / "series.npz", "(100000000, 1, 2)", 2 * 10**8, labels=few)
    zeros(folder / "channels.npz", "(1, 1, 10000000)", 10**7, labels=few[:1])
    zeros(folder / "steps.npz", "(1, 100000000, 1)", 10**8, labels=few[:1])
    zeros(folder / "lengths.npz", "(100000000, 1)", 10**8, lengths=few, labels=few)
    zeros(folder / "text.npz", "(2, 10, 1000000)", 2 * 10**7, labels=np.array(["a" * 10**6, "b"]))
    with (folder / "line.ts").open("w") as file:
        file.write("@classLabel true a b\n@data\n1,2:a\n")
        file.truncate(20 * 10**9)
    with (folder / "line.csv").open("w") as file:
        file.write("id,time,x,label\n")
        file.truncate(20 * 10**9)
    (folder / "digits.ts").write_text(f"@seriesLength {'9' * 5000}\n@classLabel true a b\n@data\n1:a\n")
    (folder / "channels.ts").write_text("@classLabel true a b\n@data\n" + "1:" * 10**6 + "a\n")
    (folder / "classes.ts").write_text("@classLabel true " + "a " * 10**6 + "\n@data\n1:a\n")
    (folder / "braces.arff").write_text("@attribute x" + "{" * 10**6 + "\n")
    (folder / "columns_wide.csv").write_text(",".join("a" * (2**20 + 2)) + "\n")
    cells = pl.DataFrame({"id": range(20_000)}).with_columns(x=pl.lit(1.0), label=pl.lit("a" * 2**17))
    cells.write_parquet(folder / "cells_wide.parquet")
    child = subprocess.run([sys.executable, "-c", HOSTILE, str(folder)], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]
    said, peak = json.loads(child.stdout)
    for name, words in {
        "series.npz": "array 'values': is of 100,000,000 series; the limit is 10,000,000",
        "channels.npz": "holds series of 10,000,000 channels; the limit is 100,000",
        "steps.npz": "series 0 (from 0) takes 400,000,000 bytes; the limit is 268,435,456",
        "lengths.npz": "array 'lengths': series 0 (from 0) has 0 steps",
        "text.npz": "array 'labels': is of type <U1000000; the limit is 65,536 characters",
        "line.ts": "line 4: is longer than 32 MB",
        "line.csv": "line 2: is longer than 32 MB",
        "digits.ts": "line 1, @seriesLength: '9999999999999999999999999999999999999...' is no number from 1 to 999,999,999",
        "channels.ts": "line 3: has 1,000,000 channels; the limit is 100,000",
        "classes.ts": "line 1: is a header line of 2,000,016 characters; the limit is 1,048,576",
        "braces.arff": "line 1: '@attribute x{{{{",
        "columns_wide.csv": "line 1: names more than 1,048,576 columns",
        "cells_wide.parquet": "row 0 (from 0), column 'label': has 131,072 bytes; the limit is 65,536",
    }.items():
        assert words in said[name], said[name][:500]
        assert len(said[name]) < 600
    assert peak < 1, f"{peak:.1f} GB"


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_of_more_series_than_the_limit_is_refused(tmp_path, monkeypatch, form):
    source, layout, write = WRITERS[form]
    path = write(tmp_path / "data", examples(1))
    monkeypatch.setattr(limits, "SERIES", 4)
    assert len(read(source, path, layout=layout)[0]) == 4
    monkeypatch.setattr(limits, "SERIES", 3)
    with pytest.raises(DataError, match=r"more than 3 series|is of 5 series; the limit is 3"):
        read(source, path, layout=layout)


def test_a_series_that_never_ends_is_refused_where_the_table_is_not_read_as_a_whole(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("id,time,x,label\n" + "".join(f"a,{t},1,u\n" for t in range(1000)))
    monkeypatch.setattr(row_order, "IN_MEMORY", 10)
    monkeypatch.setattr("pipeline.data.readers.tables.csv_lines.BLOCK", 1000)
    assert read("csv", tmp_path / "a.csv")[0].lengths.tolist() == [1000]
    monkeypatch.setattr(limits, "ONE", 4000)
    with pytest.raises(DataError, match=r"a\.csv: line 2, column 'id': series 'a' takes more than 4,000 bytes"):
        read("csv", tmp_path / "a.csv")


def test_many_small_series_of_a_text_file_are_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(ts_reader, "BLOCK", 1000)
    (tmp_path / "a.ts").write_text("@classLabel true a\n@data\n" + "1:a\n" * 200)
    assert len(read("ts", tmp_path / "a.ts")) > 5


BAD = ["a\x1b]0;owned\x07", "a\nb", "a\r", "\x00a", "a\x7f", "a\x85b", "a\u2028b", "a\u202eb", "\ud800"]
GOOD = ["Ärger", "a b", "é\t", "👩‍🔬", "naïve", "日本", "=1+1", "$a$", "a\xa0b", ""]


@pytest.mark.parametrize("word", BAD)
@pytest.mark.parametrize("role", ["label", "id", "group", "channel"])
def test_words_that_hold_what_nobody_sees_are_refused_with_their_place(tmp_path, word, role):
    words = {"labels": ["u", "v"], "ids": ["s", "t"], "groups": ["p", "q"], "channels": ["x", "y"]}
    words[f"{role}s"] = [words[f"{role}s"][0], f"a{word}b"]
    np.savez(tmp_path / "a.npz", values=np.zeros((2, 3, 2)), **words)
    where = "the name of channel" if role == "channel" else f"series 1 (from 0): the {role}"
    with pytest.raises(DataError) as caught:
        list(formats.read("npz", tmp_path / "a.npz", Columns()))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/a.npz: {where} 'a") and "which nobody sees" in said
    assert not HIDDEN.search(said), "nor does the message hold it"


@pytest.mark.parametrize("role", ["label", "id", "group", "x"])
@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_words_of_tables_are_looked_at_too(tmp_path, role, source):
    columns = {"id": ["s", "t"], "time": [0, 0], "x": [1, 2], "group": ["p", "p"], "label": ["u", "u"]}
    if role == "x":
        columns["x\x1b"] = columns.pop("x")
    else:
        columns[role] = [columns[role][0], "a\x1bb"]
    frame = pl.DataFrame(columns)
    frame.write_csv(tmp_path / "a") if source == "csv" else frame.write_parquet(tmp_path / "a")
    place = {"csv": "line 3: ", "parquet": "row 1 (from 0): "}[source]
    with pytest.raises(DataError, match=r"U\+001B") as caught:
        read(source, tmp_path / "a", group="group")
    assert ("the name 'x\\x1b'" if role == "x" else f"{place}the {role} 'a\\x1bb'") in str(caught.value)


def test_words_of_any_language_are_kept():
    refuse_unfit(GOOD, lambda number: f"word {number}")
    assert [short(word) for word in GOOD] == GOOD


def test_messages_show_the_beginning_of_a_long_word_and_never_what_is_hidden():
    assert short("a" * 41) == "a" * 37 + "..." and quoted("a" * 40) == f"'{'a' * 40}'"
    assert [short(word) for word in BAD[:2]] == ["a\\x1b]0;owned\\x07", "a\\nb"]
    assert some(map(str, range(30))) == ", ".join(map(str, range(20))) + ", ..."
    with pytest.raises(DataError, match=r"^word 1 'b{37}\.\.\.' has 65,537 characters; the limit is 65,536: shorten it$"):
        refuse_unfit(["a" * 2**16, "b" * (2**16 + 1)], lambda number: f"word {number}")


FLIPPED = """
import random, sys
from pathlib import Path
from pipeline.data.readers import formats
from pipeline.data.series import Columns
from pipeline.errors import DataError
path, draw, refused = Path(sys.argv[1]), random.Random(0), 0
whole = path.read_bytes()
for flip in range(2 * len(whole)):  # the lowest bit of each byte, which is the sign of a number, and another
    place, odd = divmod(flip, 2)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(1, 8) if odd else 1)]) + whole[place + 1 :])
    try:
        list(formats.read("parquet", path, Columns()))
    except DataError as error:
        assert len(str(error)) < 500
        refused += 1
print(refused / len(whole) / 2)
"""


def test_a_parquet_with_any_bit_flipped_ends_in_a_message_and_never_kills_the_process(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": ["a", "b"] * 2, "time": range(4), "x": [0.1, 0.2, 0.3, 0.4], "label": "u"}).write_parquet(path)
    child = subprocess.run([sys.executable, "-c", FLIPPED, str(path)], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]
    assert 0.2 < float(child.stdout) < 1


@pytest.mark.parametrize("packing", ["zstd", "snappy", "lz4", "gzip", "brotli", "uncompressed"])
def test_what_a_whole_parquet_states_of_its_sizes_is_believed(tmp_path, packing):
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame(
        {
            "id": [f"s{number}" for number in range(5000)],
            "x": np.random.default_rng(0).normal(size=5000),
            "kind": pl.Series(["u", "v", None, ""] * 1250, dtype=pl.Categorical),
            "many": [[1, 2, 3], [], None, [4]] * 1250,
            "inner": [{"a": 1, "b": [2.0]}] * 5000,
            "constant": [True] * 5000,
            "nothing": [None] * 5000,
            "bytes": [b"\0" * 100] * 5000,
        }
    )
    for sizes in ({}, {"row_group_size": 700}, {"data_page_size": 1000}, {"statistics": False}):
        frame.write_parquet(path, compression=packing, **sizes)
        parquet_sizes.check(path)
    frame.clear().write_parquet(path)
    parquet_sizes.check(path)


def test_a_parquet_that_unpacks_to_far_more_than_it_is_is_refused_and_a_small_one_is_not(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": ["a"] * 10**6, "x": [1.0] * 10**6, "label": ["u"] * 10**6}).write_parquet(path)
    parquet_sizes.check(path)
    monkeypatch.setattr(parquet_sizes, "MOST", 10**6)
    with pytest.raises(DataError, match=r"a row group of [\d,]+ bytes that unpacks to 6?[\d,]+"):
        read("parquet", path)


def test_a_parquet_whose_columns_share_their_pages_is_refused(tmp_path):
    pages = b"\x15\0\x15\x10\x15\0\x2c\x15\0\x15\0\x15\0\x15\0\0\0" * 100  # of no values, and no bytes
    ends = bytes([len(pages) * 2 & 127 | 128, len(pages) * 2 >> 7])  # as Thrift writes the number
    column = b"\x26\x08\x1c\x15\0\x19\x05\x19\x18\x01a\x15\0\x16\0\x16" + ends + b"\x16" + ends + b"\x26\x08\0\0"
    for count in (1, 9):
        footer = b"\x15\x02\x26\0\x19\x1c\x19" + bytes([count << 4 | 12]) + column * count + b"\x16\x02\x16\0\0\0"
        (tmp_path / "a.parquet").write_bytes(b"PAR1" + pages + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        if count == 1:
            assert parquet_sizes.check(tmp_path / "a.parquet") == [(0, 0)]
            continue
        with pytest.raises(parquet_sizes.Damaged, match="its columns take more bytes than the file has"):
            parquet_sizes.check(tmp_path / "a.parquet")
