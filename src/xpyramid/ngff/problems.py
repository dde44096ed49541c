"""What is wrong with a stored image, said of one place in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from xpyramid.messages import printable

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        A short word for programs: "missing", "unreadable", "values", ...
    where : str
        Path of the document, array or stored object; "" is what was looked at itself.
    message : str
        A sentence for people: the value, and what was expected.
    severity : {"error", "warning"}
        A warning is something that readers can live with.
    """

    kind: str
    where: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        return printable(f"{self.severity}: {self.where or '.'}: {self.message} [{self.kind}]")

    def below(self, path: str) -> Problem:
        """Return the problem as seen from above ``path``."""
        return replace(self, where="/".join(part for part in (path, self.where) if part))


def recommended(what: str, holder: Mapping[str, object], keys: Sequence[str]) -> Iterator[Problem]:
    """Yield a warning that names what the specification says should be there, and is not."""
    if missing := [key for key in keys if key not in holder]:
        message = f"{what} has no {', '.join(missing)}; OME-NGFF recommends"
        yield Problem("recommended", "", f"{message} {'them' if missing[1:] else 'it'}", "warning")
