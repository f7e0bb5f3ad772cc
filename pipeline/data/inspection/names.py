"""What people call the columns of a table: words that a name may be made of, in lower case and without accents.

A name is a hint beside what is measured; nobody's language is needed to be understood.
"""

from __future__ import annotations

import re
import unicodedata

ID = (
    "id series seriesid case caseid sample sampleid rec record recording trial sequence seq unit run example episode session "
    "window serie reihe messung messreihe aufnahme probe fall versuch lauf nummer kennung essai enregistrement echantillon "
    "identifiant ensayo muestra registro caso identificador secuencia prueba amostra ensaio prova campione registrazione reeks "
    "meting opname seria probka nagranie серия запись опыт образец номер 编号 序列 样本 记录 系列 番号 試料 記録 번호"
)
TIME = (
    "time timestamp t date datetime step frame tick cycle ts clock seconds sec ms hour minute day index idx order position "
    "timestep elapsed zeit zeitstempel zeitpunkt datum uhrzeit tag stunde sekunde schritt takt temps heure jour seconde "
    "horodatage instant tiempo fecha hora segundo paso instante tempo ora passo tijd tijdstip stap czas krok время дата шаг "
    "时间 时刻 日期 时间戳 時間 時刻 日付 日時 시간 날짜"
)
LABEL = (
    "label class target y category activity outcome diagnosis species gesture condition fault event state type "
    "klasse kategorie zustand ergebnis diagnose aktivitat befund classe etiquette categorie etat resultat activite diagnostic "
    "clase etiqueta categoria estado actividad diagnostico rotulo atividade etichetta stato toestand klasa etykieta kategoria "
    "класс метка категория 类别 标签 类 状态 ラベル クラス 分類 状態 라벨 클래스"
)
GROUP = (
    "group patient subject person user participant individual machine device sensor plant site speaker animal driver "
    "patientin proband probandin versuchsperson gruppe maschine anlage gerat sujet groupe appareil personne machine paciente "
    "sujeto grupo maquina persona sujeito pessoa paziente soggetto gruppo macchina groep persoon pacjent grupa osoba "
    "пациент группа 患者 受试者 病人 设备 組 被験者 환자"
)
ROW = "index row rowid rownumber rownr unnamed"


def means(name: str, words: str) -> bool:
    """Whether a column's name is one of ``words``, or is made of one: ``patient_id`` of patient and id."""
    parts = re.sub(r"[\W_]+", " ", _plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))).split()
    known = _plain(words).split()
    return "".join(parts) in known or bool(parts and (parts[-1] in known or parts[0] in known))


def _plain(text: str) -> str:
    """In lower case, without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter))


def stem(name: str) -> str | None:
    """The name of a numbered column, as x_3, x3 or x[3], without its number; None if it has none."""
    if found := re.fullmatch(r"(.*)[\[(]\d+[\])]", name):
        return found[1]
    bare = name.rstrip("0123456789")
    return None if bare == name else bare[:-1] if bare.endswith(("_", " ", ".", "-")) else bare
