"""Everything that is wrong with a folder, gathered so that one error names it all."""

from collections import defaultdict

from helpers.files import CourseError

NAMED = 20  # faults that one error names; the rest is counted


class Faults:
    """Lines and files that cannot be used, by what is wrong with them."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str) -> None:
        """Note one fault.

        Args:
            kind: A sentence; the places replace its first ``{}``. Other braces stay as they are.
            place: A line or a file.
        """
        self._places[kind].append(place)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def refuse(self, source: object) -> None:
        """Raise one `CourseError` with the first `NAMED` faults and their number, if any."""
        if not len(self):
            return
        sentences, left = [], NAMED
        for kind, places in self._places.items():
            if left > 0:
                more = f" and {len(places) - left} more" if len(places) > left else ""
                sentences.append(kind.replace("{}", ", ".join(places[:left]) + more, 1))
                left -= len(places)
            else:
                sentences.append(kind.replace("{}", f"{len(places)} more", 1))
        many = f" has {len(self)} faults" if len(self) > 1 else ""
        raise CourseError(f"{source}{many}: {'; '.join(sentences)}.")
