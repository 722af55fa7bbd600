"""Whether photos may leave this server for an engine that sends them elsewhere.

Three must agree: the engine says where they go (`EngineInfo.egress`), the operator allows it by
name, and the session asks for it. It is checked at the door, and again before a stored picture is
read for a run, since the operator may have changed his mind in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from app.engines import Egress
from app.errors import EgressNotAllowed


@dataclass(frozen=True)
class EgressRules:
    """declared: what the engines of this server say, by name; None for one that sends nothing.

    allowed: the operator's words: names of engines, or hosts.
    """

    declared: Mapping[str, Egress | None]
    allowed: Collection[str]

    def allows(self, engine: str) -> bool:
        """Whether the operator lets this engine have photos; always, where they stay here."""
        egress = self.declared[engine]
        return egress is None or engine in self.allowed or egress.host in self.allowed

    def check(self, engine: str, *, asked: bool) -> None:
        """Raises EgressNotAllowed."""
        egress = self.declared[engine]
        if not self.allows(engine):
            raise EgressNotAllowed(
                "engine: this one sends photos to another server, which the operator has not "
                "allowed. Use another engine.",
                pointer="engine",
            )
        if egress is not None and not asked:
            raise EgressNotAllowed(
                f"allow_egress: the engine sends photos to {egress.host} ({egress.purpose}). "
                "Send true if the shopper agrees, or use another engine.",
                pointer="allow_egress",
            )
