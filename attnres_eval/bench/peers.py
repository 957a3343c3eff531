"""Training speed of ours over its peers', each at the fastest of its settings."""

import math
import time
from collections.abc import Callable, Mapping

from attnres_eval.bench.ours import our_step, precisions
from attnres_eval.bench.plan import REPORTED_ONLY, Plan
from attnres_eval.bench.public.peer import AbsentPeer, Peer, peer_step
from attnres_eval.bench.public.table import NO_PEER, PEERS
from attnres_eval.bench.rounds import Times, Turn, interleave, ratio, summary
from attnres_eval.bench.rows import Row, measured_row
from attnres_eval.bench.sizes import TOKENS_A_STEP, bench_shape
from attnres_eval.shape import ModelShape

TRIAL_ROUNDS = 3


def fastest(
    makers: Mapping[str, Callable[[], Turn]],
    rounds: int = TRIAL_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, Turn]:
    """The setting of the shortest median, tried in turn with the others, and what it made."""
    turns = {setting: make() for setting, make in makers.items()}
    if len(turns) == 1:
        return next(iter(turns.items()))
    times = interleave(turns, rounds, clock=clock)
    best = min(turns, key=lambda setting: summary(times[setting]).value)
    return best, turns[best]


def peer_makers(
    peer: Peer, shape: ModelShape, tokens: int = TOKENS_A_STEP
) -> dict[str, Callable[[], Turn]]:
    """A peer's settings in words, and what makes its step under each."""

    def maker(precision: str, attention: str) -> Callable[[], Turn]:
        return lambda: peer_step(peer, shape, precision, attention, tokens)

    return {
        precision if attention == "own" else f"{precision}, {attention} attention": maker(
            precision, attention
        )
        for precision, attention in peer.settings(precisions())
    }


def our_makers(
    shape: ModelShape, variant: str, tokens: int = TOKENS_A_STEP
) -> dict[str, Callable[[], Turn]]:
    """Our settings: the precisions of this processor."""

    def maker(precision: str) -> Callable[[], Turn]:
        return lambda: our_step(shape, variant, precision, tokens=tokens)

    return {precision: maker(precision) for precision in precisions()}


def peer_times(
    shape: ModelShape,
    variants: tuple[str, ...],
    rounds: int,
    say: Callable[[str], None],
    tokens: int = TOKENS_A_STEP,
    seconds: float = 0,
    most: float = math.inf,
) -> tuple[Times, dict[str, str]]:
    """Seconds a step of variants and of their peers, and the setting of each.

    Peers that are not installed are missing in both. `seconds` and `most` are `interleave`'s.
    """
    makers = {name: our_makers(shape, name, tokens) for name in variants}
    peers = {peer for name in variants for peer, _ in PEERS.get(name, ())}
    for peer in sorted(peers, key=lambda peer: peer.name):
        makers[peer.name] = peer_makers(peer, shape, tokens)
    settings, steps = {}, {}
    for name, options in makers.items():
        try:
            say(f"trying {len(options)} settings of {name}")
            settings[name], steps[name] = fastest(options)
        except AbsentPeer:
            continue
    say(f"timing {', '.join(steps)}")
    return interleave(steps, rounds, warmups=2, seconds=seconds, most=most), settings


def measure(plan: Plan) -> list[Row]:
    """A row for every peer and size; PreNorm's peers are always among them."""
    rows: list[Row] = []
    names = tuple(dict.fromkeys(("prenorm", *plan.variants)))
    chosen = tuple(name for name in names if name in PEERS)
    for size in plan.sizes:
        plan.say(f"peers: {size}")
        times, settings = peer_times(
            bench_shape(size),
            chosen,
            plan.rounds,
            plan.say,
            TOKENS_A_STEP,
            seconds=plan.seconds,
            most=plan.most,
        )
        for name in chosen:
            for peer, aim in PEERS[name]:
                here = peer.name in times
                rows.append(
                    measured_row(
                        "peers",
                        f"training speed, {name} over its peer",
                        size,
                        # Speed is the reciprocal of time.
                        ratio(times, peer.name, name) if here else None,
                        aim=None if size in REPORTED_ONLY else aim,
                        peer=f"{peer.title}, {settings[peer.name]}" if here else peer.name,
                        precision=settings[name],
                        rounds=len(times[name]),
                        note=None if here else f"{peer.package} is not installed (extra bench)",
                    )
                )
    for name in names:
        if name in NO_PEER:
            rows.append(
                measured_row(
                    "peers", f"training speed, {name} over its peer", None, None, note=NO_PEER[name]
                )
            )
    return rows
