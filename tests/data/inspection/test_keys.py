"""The columns that say what a row is are found by what is measured, in any language; a name is a hint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.data.inspection import names, roles
from pipeline.data.inspection.frame import Found
from tests.support.series_files import only

N, T = 24, 12
LANGUAGES = {
    "German": "Messreihe Zeit Klasse Proband",
    "German, another": "Aufnahme Datum Zustand Versuchsperson",
    "French": "essai temps étiquette sujet",
    "French, another": "échantillon heure catégorie patient",
    "Spanish": "serie tiempo clase paciente",
    "Spanish, another": "muestra fecha categoría sujeto",
    "Portuguese": "amostra hora rótulo pessoa",
    "Italian": "prova tempo classe paziente",
    "Dutch": "meting tijd klasse groep",
    "Polish": "próbka czas klasa osoba",
    "Russian": "запись время класс пациент",
    "Chinese": "编号 时间 类别 患者",
    "Japanese": "番号 時刻 ラベル 被験者",
    "Korean": "번호 시간 라벨 환자",
    "no language": "qa qb qc qd",
    "letters": "a b c d",
    "what may mislead": "x1 y1 z1 w1",
}


def table(words: str, time: str = "steps", label: str = "words", order: str = "file") -> pl.DataFrame:
    """A long table of 24 series of 12 steps, two of each person, by two persons a class; names in the order id, time, class,
    group."""
    random = np.random.default_rng(1)
    series, step = np.repeat(np.arange(N), T), np.tile(np.arange(T), N)
    times = {
        "steps": step,
        "seconds": np.round(step * 0.02, 2),
        "from elsewhere": 1000 + 50 * step + series,
        "uneven": np.round(step + random.uniform(0, 0.9, N * T), 2),
        "dates": [f"2024-01-{one + 1:02} 10:00:00" for one in step],
    }[time]
    classes = series % 4 < 2
    id_, time_, label_, group = words.split()
    frame = pl.DataFrame(
        {
            id_: [f"r{one:02}" for one in series],
            time_: times,
            "v": random.normal(size=N * T).round(3),
            label_: np.where(classes, "low", "high") if label == "words" else classes * 1,
            "w": random.normal(size=N * T).round(3) + classes,
            group: [f"p{one // 2:02}" for one in series],
        }
    )
    if order == "by time":
        return frame.sort(time_, id_)
    return frame.sample(fraction=1, shuffle=True, seed=2) if order == "shuffled" else frame


def found(folder: Path, frame: pl.DataFrame) -> Found:
    frame.write_csv(folder / "table.csv")
    return roles.find("csv", folder / "table.csv")


def four(result: Found) -> str:
    columns = result.columns
    assert columns.layout == "long" and columns.channels == ("v", "w") and not columns.window
    return f"{columns.id} {columns.time} {columns.label} {columns.group}"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("label", ["words", "numbers"])
def test_names_of_any_language_and_of_none(tmp_path: Path, language: str, label: str) -> None:
    words = LANGUAGES[language]
    assert four(found(tmp_path, table(words, label=label))) == words


@pytest.mark.parametrize(
    ("time", "order"),
    [
        *(("steps", "file"), ("seconds", "file"), ("from elsewhere", "file"), ("dates", "file")),
        *(("steps", "by time"), ("seconds", "by time"), ("dates", "by time")),
    ],
)
@pytest.mark.parametrize("words", ["qa qb qc qd", "Messreihe Zeit Klasse Proband"])
def test_a_time_is_known_by_how_it_grows_in_each_series(tmp_path: Path, time: str, order: str, words: str) -> None:
    assert four(found(tmp_path, table(words, time, order=order))) == words


def test_rows_in_no_order_are_put_in_that_of_a_time_without_a_usual_name(tmp_path: Path) -> None:
    result = found(tmp_path, table("id qb label qd", order="shuffled"))
    assert four(result) == "id qb label qd"
    assert only("csv", tmp_path / "table.csv", **result.columns.model_dump()).lengths.tolist() == [T] * N


def test_what_grows_unevenly_under_an_unknown_name_is_the_time_with_a_warning(tmp_path: Path) -> None:
    result = found(tmp_path, table("qa qb qc qd", "uneven"))
    assert four(result) == "qa qb qc qd"
    assert any("'qb' grows in each series and is taken for the time; if it is measured" in line for line in result.doubts)
    named = found(tmp_path, table("qa zeit qc qd", "uneven"))
    assert named.columns.time == "zeit" and not any("grows" in line for line in named.doubts)


def test_what_grows_beside_a_time_is_a_measurement(tmp_path: Path) -> None:
    frame = table("qa qb qc qd")
    frame = frame.with_columns(kwh=pl.Series(np.random.default_rng(3).uniform(0, 1, N * T)).cum_sum().round(3))
    columns = found(tmp_path, frame).columns
    assert (columns.time, set(columns.channels)) == ("qb", {"v", "w", "kwh"})


def test_a_group_without_a_usual_name_is_said(tmp_path: Path) -> None:
    result = found(tmp_path, table("qa qb qc qd"))
    assert any("'qd' is the same within series and in several" in line for line in result.doubts)


def test_two_columns_that_may_be_the_class_are_both_said(tmp_path: Path) -> None:
    frame = table("qa qb qc qd").with_columns(sex=pl.Series(["f" if one % 3 else "m" for one in np.repeat(np.arange(N), T)]))
    result = found(tmp_path, frame)
    assert any("is taken for the class, for its values; it may also be" in line for line in result.doubts)
    assert not any("taken for the class" in line for line in found(tmp_path, table("qa qb klasse qd")).doubts)


def test_times_of_day_are_no_order_that_a_reader_takes(tmp_path: Path) -> None:
    frame = table("id qb label qd").with_columns(qb=pl.Series([f"10:00:{one:02}" for one in np.tile(np.arange(T), N)]))
    result = found(tmp_path, frame)
    assert result.columns.time == "" and any("'qb' holds words" in line for line in result.doubts)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("Étiquette", names.LABEL), ("Gerät", names.GROUP), ("GERAET-Nr. serie", names.ID), ("Zeit [s]", names.TIME)),
        *(
            ("patientID", names.ID),
            ("時刻", names.TIME),
            ("ラベル", names.LABEL),
            ("t (ms)", names.TIME),
            ("fecha_hora", names.TIME),
        ),
    ],
)
def test_a_name_means_what_one_of_its_words_does(name: str, kind: str) -> None:
    assert names.means(name, kind) and not names.means("Zeitung", kind) and not names.means("", kind)
