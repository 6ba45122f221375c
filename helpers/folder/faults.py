"""Everything that is wrong with a folder, gathered so that one error names it all."""

from collections import defaultdict

from helpers.files import CourseError

NAMED = 20  # faults that one error names; the rest is counted


class Faults:
    """Lines and files that cannot be used, by what is wrong with them."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str) -> None:
        """Note one fault: `kind` is a sentence with ``{}`` where the places are to stand."""
        self._places[kind].append(place)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def refuse(self, source: object) -> None:
        """Raise one `CourseError` with the first `NAMED` faults and their number, if any."""
        if not len(self):
            return
        said, left = [], NAMED
        for kind, places in self._places.items():
            if left > 0:
                more = f" and {len(places) - left} more" if len(places) > left else ""
                said.append(kind.format(", ".join(places[:left]) + more))
                left -= len(places)
            else:
                said.append(kind.format(f"{len(places)} more"))
        many = f" has {len(self)} faults" if len(self) > 1 else ""
        raise CourseError(f"{source}{many}: {'; '.join(said)}.")
