"""Numbers as a reader of the live view sees them."""

from attnres_eval.watch.state import PartState, State, Status

ORDER = (
    Status.RUNNING,
    Status.SCORING,
    Status.FAILED,
    Status.STOPPED,
    Status.WAITING,
    Status.FINISHED,
    Status.SCORED,
)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def short(number: float) -> str:
    """`700`, `51.8k`, `1.43M`."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{letter}"
    return f"{number:.3g}"


def counted(part: PartState) -> str:
    """`2 running, 1 failed, 5 waiting, 12 finished`."""
    counts = [(status, len(part.having(status))) for status in ORDER]
    return ", ".join(f"{number} {status}" for status, number in counts if number)


def doing(part: PartState) -> str:
    """What goes on in a part, in a word or two."""
    if part.having(Status.RUNNING):
        return "training"
    if part.timing:
        return "timing training steps side by side"
    if part.having(Status.SCORING):
        return "scoring" if part.to_score else "inspecting"
    if part.holder is not None:
        return "between runs"
    if not part.begun:
        return "not begun"
    return "nobody works here" if part.left else "done"


def headline(state: State) -> str:
    """The study's name, who works on it, and at what."""
    busy = next((part for part in state.parts if part.busy), None)
    if busy is None:
        done = "done" if state.ended else "nobody works here; the study's own command goes on"
        return f"{state.name}: {done}"
    holder = busy.holder
    who = f", process {holder.pid} on {holder.host}" if holder is not None else ""
    place = f" {busy.name}" if busy.name else ""
    return f"{state.name}: {doing(busy)}{place}{who}"
