"""Who answers for a published table, and under which terms: said as it was given, never guessed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Publisher:
    """Empty where it was not said.

    Attributes:
        author: who made the table, a person or a group.
        contact: where errors are reported, a mail address or one of the web.
        licence: of the table, an SPDX name such as "CC-BY-4.0" or an address.
    """

    author: str = ""
    contact: str = ""
    licence: str = ""

    @property
    def unsaid(self) -> list[str]:
        """Names of what was not said."""
        return [name for name in ("author", "contact", "licence") if not getattr(self, name)]


UNSTATED = Publisher()
