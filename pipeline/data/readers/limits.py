"""The largest of each thing that is read: a file of a few bytes may state any size, and some of them are true."""

from __future__ import annotations

SERIES = 10_000_000  # of a file
CHANNELS = 100_000  # of a series
COLUMNS = 2**20  # of a table
LINE = 2**25  # bytes of a line
HEADER = 2**20  # characters of a line that describes a file
ONE = 2**28  # bytes of what must be in memory as a whole: one series, or an array other than the values
UNPACKED = 2**28  # bytes that a packed text may always unpack to
EXPANSION = 100  # beyond, no packed text is unpacked to more than this times its bytes in the file
