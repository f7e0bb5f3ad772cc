"""What is safe to write into a page: texts, JSON, numbers, bytes."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import short

LONGEST = 600  # characters of a text; a name may have any number of them
ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


class Encoded(str):
    """Bytes as base64, which no reader reads, and which is never cut."""


def encoded(values: np.ndarray[Any, Any]) -> Encoded:
    """The bytes of an array: uint8 as they are, everything else as little-endian float32."""
    kept = values if values.dtype == np.uint8 else values.astype("<f4")
    return Encoded(base64.b64encode(np.ascontiguousarray(kept).tobytes()).decode("ascii"))


def decoded(text: Encoded) -> bytes:
    """The bytes of what was ``encoded``."""
    return base64.b64decode(text)


def plain(value: Any) -> Any:
    """``value`` as JSON has it: texts short and without what acts on a reader unseen, numbers that are not finite as None."""
    if isinstance(value, Encoded):
        return str(value)
    if isinstance(value, str):
        return short(value, LONGEST)
    if isinstance(value, Mapping):
        return {short(str(key), LONGEST): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence | np.ndarray):
        return [plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any) -> str:
    """``value``, made ``plain`` before, as JSON that may stand in a ``<script>`` of HTML: no character of it can end that."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(ESCAPES)


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage."""
    return f"{100 * share:.{digits}f} %"


def number(value: float | None) -> str:
    """A number in few digits, and a dash for none."""
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def span(seconds: float) -> str:
    """A length of time in words."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB" if count >= 1e3 else f"{count} bytes"
