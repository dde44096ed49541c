"""What is wrong with a stored image, said of one place in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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
        return f"{self.severity}: {self.where or '.'}: {self.message} [{self.kind}]"

    def below(self, path: str) -> Problem:
        """Return the problem as seen from above ``path``."""
        return replace(self, where="/".join(part for part in (path, self.where) if part))
