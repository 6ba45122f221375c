"""Turns label words into two classes, and decides, or asks, which of them is positive."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from helpers.files import CourseError

# (negative, positive): pairs in which nobody takes one for the other.
STANDARD = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))
UNKNOWN = {
    "", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "none", "null", "nil", "nat", "unknown", "unk",
    "missing", "-", "--", "?", ".", "unbekannt", "inconnu", "desconocido", "sconosciuto", "n/k",
    "k.a.", "n.d.", "not known", "not available",
}  # fmt: skip
# Words in column names that mean the finding is absent.
ABSENT = {
    "benign", "normal", "healthy", "control", "negative", "neg", "clear", "absent", "no", "non",
    "not", "without", "free", "false", "nofinding", "unaffected", "gesund", "gesunde", "sano",
    "sana", "sain", "saine", "kein", "keine", "ohne", "sin", "sans", "gutartig", "bénin", "bénigne",
    "benin", "benigne", "benigno", "benigna", "unauffällig", "negativ", "négatif", "négative",
    "negativo", "negativa", "normale", "kontrolle", "contrôle", "témoin", "良性", "正常", "陰性",
}  # fmt: skip


def normalise_label(text: str) -> str:
    """A label as it is compared: without case, in one Unicode form, 1.0 and 1,0 as 1."""
    text = unicodedata.normalize("NFC", text.strip()).casefold()
    return re.sub(r"^(\d+)[.,]0+$", r"\1", text)


def is_absent(name: str) -> bool:
    """Whether a column name says that the finding is absent, as `is_healthy` does."""
    return bool(words_in(name) & ABSENT)


def words_in(name: str) -> set[str]:
    """The words of a column name, however they are joined: `isHealthy`, `is_healthy`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    return set(re.split(r"[\W_]+", apart.casefold())) - {""}


def findings(text: str) -> list[str]:
    """The findings in a label that names several, as `Mass|Effusion`; one where it doesn't."""
    return [normalise_label(part) for part in re.split(r"[|;,/+&]", text)]


def quote(label: str) -> str:
    """A label as it must be written in a YAML file: in quotes, where it is no plain text there."""
    try:
        plain = yaml.safe_load(f"[{label}]") == [label]
    except (ValueError, yaml.YAMLError):
        plain = False
    return label if plain else "'" + label.replace("'", "''") + "'"


def is_unknown(text: str) -> bool:
    """Whether a cell says that its value is not known, as pandas, R and people write it."""
    return normalise_label(text) in UNKNOWN


def is_standard_pair(words: set[str]) -> bool:
    """Whether these are one or both words of a pair in `STANDARD`, which needs no explanation."""
    return bool(words) and any(words <= set(pair) for pair in STANDARD)


@dataclass(frozen=True)
class Classes:
    """What the labels' words mean.

    `names` are label 0's and label 1's as the data have them; `label` gives 0 or 1 for a word, and
    lacks the words that were left out.
    """

    names: tuple[str, str]
    label: dict[str, int]


def two_classes(
    words: Sequence[str], where: str, positive: str = "", classes: Sequence[str] = ()
) -> Classes:
    """Decide which words are label 1 and which label 0.

    Args:
        words: One per image, as written, without unknown ones.
        where: Names the source in an error message.
        positive: The word of the positive class, if the user named it; all others are label 0
            then.
        classes: The two words that count, if there are more.

    Raises:
        CourseError: Not two classes, or no way to tell which of them is positive.
    """
    written: dict[str, str] = {}
    for text in words:
        written.setdefault(
            normalise_label(text),
            normalise_label(text) if normalise_label(text).isdecimal() else text,
        )
    counts = Counter(map(normalise_label, words))
    asked = [normalise_label(text) for text in classes]
    listed = ", ".join(f"{written[w]} ({n})" for w, n in counts.most_common(12))
    if missing := [text for text in classes if normalise_label(text) not in counts]:
        raise CourseError(f"{where}: classes has {missing[0]!r}, but the labels are {listed}.")
    used = [w for w in written if not asked or w in asked]
    if len(used) == 1:
        raise CourseError(f"{where}: all labels are {written[used[0]]}: two classes are needed.")
    wanted = normalise_label(positive)
    # An image with two findings has each of them.
    several = any(re.search(r"[|;/+&]|,.*,", w) for w in used)  # then 3,5 are two, else a number
    is_positive = {
        w: w == wanted
        or (wanted in findings(w) and (several or not re.fullmatch(r"[-+]?\d+,\d+", w)))
        for w in used
    }
    if positive and any(is_positive.values()):
        name = written.get(wanted, positive)
        others = [w for w in used if not is_positive[w]]
        if not others:
            raise CourseError(
                f"{where}: all labels contain {name} ({listed}): two classes are needed."
            )
        rest = written[others[0]] if len(others) == 1 else f"not {name}"
        return Classes((rest, name), {w: int(is_positive[w]) for w in used})
    no_label = f"positive is {positive!r}, which is no label here; " if positive else ""
    if len(used) == 2:
        for pair in STANDARD:
            if set(used) == set(pair):
                names = (written[pair[0]], written[pair[1]])
                return Classes(names, {pair[0]: 0, pair[1]: 1})
        one, other = (written[w] for w in used)
        raise CourseError(
            f"{where}: {no_label}the labels are {one!r} and {other!r}: say which one is positive, "
            f"as positive: {quote(one)} or positive: {quote(other)}."
        )
    first, second = (written[w] for w, _ in counts.most_common(2))
    raise CourseError(
        f"{where}: {no_label}there are {len(counts)} classes, and two are supported ({listed}): "
        f"set one against all others, as positive: {quote(first)}, or choose two and say which one "
        f"is positive, as classes: [{quote(first)}, {quote(second)}] and positive: {quote(first)}."
    )
