"""How far a node has come, where that is known: for the words in which its end by a mistake is told."""

from node_image.runtime import Message

NUMBERS = ("round", "base", "version")  # what messages that carry a model call its number


class Progress:
    """Sees what an algorithm records and receives. A round or a version has the number that the algorithm gives it."""

    def __init__(self) -> None:
        self._own: tuple[str, int] | None = None
        self._heard: tuple[str, int] | None = None
        self._phases = 0

    def recorded(self, metric: str, value: float) -> None:
        """The node wrote down this value."""
        if metric == "local_phase_s":
            self._phases += 1
        elif metric in ("round", "version"):
            self._own = metric, int(value)

    def received(self, message: Message | None) -> None:
        """The node took this message; what its sender says may be garbage, and is believed if it is a number."""
        if message is None:
            return
        for key in NUMBERS:
            number = message.body.get(key)
            if type(number) is int:
                self._heard = "round" if key == "round" else "version", number
                return

    def __str__(self) -> str:
        """`round 12` or `version 57`: by its own count, else by the last message; and its local phases, if any."""
        numbered = self._own or self._heard
        words = [] if numbered is None else [f"{numbered[0]} {numbered[1]}"]
        if self._phases:
            words.append(f"after {self._phases} local phase{'s' if self._phases > 1 else ''}")
        return ", ".join(words)
