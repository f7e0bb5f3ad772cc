"""What a run of ``make bench-full`` measured, as it stands in its JSON file. Seconds and megabytes (2^20 bytes) throughout."""

from __future__ import annotations

from statistics import median

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """What all records have in common."""

    model_config = ConfigDict(extra="forbid")


class Speed(Record):
    """One variant's turns of one repeat: samples/s, and the share of its limit's samples/s in the same turn."""

    variant: str
    samples_per_second: list[float]
    of_limit: list[float]


class Command(Record):
    """One epoch as a command: to its end, to the imports' end, to the first step; memory over all processes."""

    variant: str
    seconds: float
    import_seconds: float
    start_seconds: float
    peak_mb: float


class Accuracy(Record):
    """One run to an accuracy: (step, seconds in training, accuracy on all test images) at each evaluation."""

    variant: str
    start_seconds: float
    curve: list[tuple[int, float, float]]

    def seconds_to(self, accuracy: float) -> float | None:
        """In training until the first evaluation that reached ``accuracy``; None if none did."""
        return next((seconds for _, seconds, reached in self.curve if reached >= accuracy), None)


class Entry(Record):
    """A contender, in order: ``problem`` says why it has no figures, or not all. ``best``: its fastest variant."""

    name: str
    limit: str
    problem: str = ""
    best: str = ""
    speed: list[Speed] = []
    command: list[Command] = []
    accuracy: list[Accuracy] = []

    @property
    def rates(self) -> list[float]:
        """Samples/s of the best variant: the median of each repeat."""
        return [median(speed.samples_per_second) for speed in self.speed if speed.variant == self.best]

    @property
    def of_limit(self) -> list[float]:
        """The share of its limit's samples/s that the best variant reached: the median of each repeat."""
        return [median(speed.of_limit) for speed in self.speed if speed.variant == self.best]


class Race(Record):
    """One member of the comparison of processes: samples/s of each turn, on the small or the large model."""

    model: str
    member: str
    samples_per_second: list[float]


class Results(Record):
    """Everything."""

    machine: dict[str, str | int]
    settings: dict[str, str | int | float | list[str]]
    entries: list[Entry]
    races: list[Race] = []
    phases: dict[str, float] = {}
    prepare_seconds: dict[str, float] = {}

    def entry(self, name: str) -> Entry:
        """The contender of that name."""
        return next(entry for entry in self.entries if entry.name == name)


def written(seconds: float | None) -> str:
    """Seconds as the tables show them."""
    return "-" if seconds is None else f"{seconds:.1f} s"
