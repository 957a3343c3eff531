"""Peers: of our shape, trained as ours is, at their best setting; absent ones leave a row."""

import sys
from collections.abc import Callable

import pytest
import torch

from attnres_eval.bench import peers
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.public.peer import AbsentPeer, Peer, package, peer_step
from attnres_eval.bench.public.table import PEERS
from attnres_eval.bench.rounds import Turn
from attnres_eval.bench.sizes import bench_shape
from attnres_eval.model.transformer import Transformer
from attnres_eval.variants import parse_options

TINY = bench_shape("d32x4", context=16)
EAGER = {peer.name: (name, peer) for name in PEERS for peer, _ in PEERS[name] if not peer.compiled}


def installed(peer: Peer) -> None:
    for module in ("attn_res", "x_transformers", "hyper_connections", "transformers"):
        if peer.package.replace("-", "_") == module:
            pytest.importorskip(module)


@pytest.mark.parametrize("name", EAGER)
def test_a_peer_has_our_parameters_and_learns(name: str) -> None:
    variant, peer = EAGER[name]
    installed(peer)
    ours = Transformer(TINY, variant, parse_options(variant, {}))
    body = sum(p.numel() for n, p in ours.named_parameters() if not n.startswith("residual."))
    model, _ = peer.build(TINY, peer.attention[0])
    count = sum(p.numel() for p in model.parameters())
    assert body <= count < 1.5 * body
    step: Callable[[], object] = peer_step(peer, TINY, "fp32", peer.attention[-1], tokens=64)
    losses = [float(step()) for _ in range(8)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]


def test_llama_has_exactly_our_parameters() -> None:
    pytest.importorskip("transformers")
    _, llama = EAGER["Llama eager"]
    model, loss_of = llama.build(TINY, "sdpa")
    ours = Transformer(TINY, "prenorm", parse_options("prenorm", {}))
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in ours.parameters())
    tokens = torch.randint(0, TINY.vocab_size, (2, 17))
    logits = model(tokens[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss_of(tokens), expected)


def test_the_fastest_setting_counts() -> None:
    now = 0.0
    made: list[str] = []

    def maker(name: str, seconds: float) -> Callable[[], Turn]:
        def make() -> Turn:
            made.append(name)

            def turn() -> None:
                nonlocal now
                now += seconds

            return turn

        return make

    makers = {"slow": maker("slow", 2.0), "fast": maker("fast", 1.0)}
    setting, turn = peers.fastest(makers, clock=lambda: now)
    before = now
    turn()
    assert (setting, now - before) == ("fast", 1.0)
    assert made == ["slow", "fast"]
    before = now
    assert peers.fastest({"only": maker("only", 3.0)}, clock=lambda: now)[0] == "only"
    assert now == before, "a single setting needs no trial"


def test_an_absent_peer_leaves_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "attn_res", None)
    monkeypatch.setattr(peers, "TOKENS_A_STEP", 32)
    monkeypatch.setattr(peers, "precisions", lambda: ["fp32"])
    (attn_res, aim), *_ = PEERS["block_attnres"]
    monkeypatch.setattr(peers, "PEERS", {"block_attnres": ((attn_res, aim),)})
    plan = Plan(
        say=lambda _: None, variants=("block_attnres", "muddformer"), sizes=("d16x4",), rounds=2
    )
    row, none = peers.measure(plan)
    assert row.value is None
    assert row.met is None
    assert "attn-res is not installed" in str(row.note)
    assert none.quantity.startswith("training speed, muddformer")
    assert "MUDDFormer" in str(none.note)


def test_a_peer_that_is_there_gives_a_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("attn_res")
    monkeypatch.setattr(peers, "precisions", lambda: ["fp32"])
    times, settings = peers.peer_times(TINY, ("block_attnres",), 2, lambda _: None, tokens=64)
    assert set(times) >= {"block_attnres", "attn-res Block"}
    assert settings["attn-res Block"] == "fp32"


def test_an_absent_package_is_not_a_crash() -> None:
    with pytest.raises(AbsentPeer):
        package("there_is_no_such_package")
