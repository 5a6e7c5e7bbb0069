"""The keys of a run: one secret that stays with the orchestrator, and what each node is given of it.

A node gets its own listening key and the keys of the peers that it dials (node_image.handshake), over its stdin: never
in a file, an argument or the environment. Nor does it get whoever starts the run's own secrets.
"""

import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node_image.handshake import listening_key, pair_key
from node_image.spec import NodeSpec

SECRET_BYTES = 32
_NAMES_OF_SECRETS = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|AUTH|_KEY$|_PAT$", re.IGNORECASE
)


@dataclass(frozen=True)
class RunKeys:
    """All by which the nodes of one run know each other. It counts the lives of each."""

    run_id: str
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES), repr=False)
    _lives: Counter[str] = field(default_factory=Counter, repr=False)

    def new_life(self, spec: NodeSpec) -> dict[str, Any]:
        """What a process that begins to be this node must know, as part of its `init` command."""
        self._lives[spec.name] += 1
        dialled = [peer.name for peer in spec.peers if spec.dials(peer.name)]
        pairs = {peer: pair_key(self._listening(peer), self.run_id, spec.name).hex() for peer in dialled}
        return {
            "run_id": self.run_id,
            "life": self._lives[spec.name],
            "listening": self._listening(spec.name).hex(),
            "pairs": pairs,
        }

    def _listening(self, name: str) -> bytes:
        return listening_key(self.secret, self.run_id, name)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment less the variables whose names say that they hold a secret: what a node's process may have."""
    return {name: value for name, value in environment.items() if _NAMES_OF_SECRETS.search(name) is None}
