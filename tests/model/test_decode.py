"""Decoding by one compiled call a token against plain torch and against a whole forward pass."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import fresh, scatter
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from attnres_eval.evaluate.network import Growing, additive
from attnres_eval.model import transformer
from attnres_eval.model.kernels.build import compiler
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.residuals.prenorm import PreNorm
from attnres_eval.model.transformer import Transformer
from attnres_eval.shape import ModelShape

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler"),
    pytest.mark.usefixtures("no_gradients"),
]

SHAPE = ModelShape(
    d_model=48,
    n_layers=5,
    n_heads=4,
    n_kv_heads=2,
    head_dim=10,
    d_ff=72,
    vocab_size=50,
    context=64,
    qk_norm=True,
)
SIZES = {
    "odd": SHAPE,
    "even": SHAPE.model_copy(update={"d_model": 64, "head_dim": 32, "d_ff": 128}),
    "narrow": SHAPE.model_copy(
        update={"d_model": 12, "head_dim": 6, "d_ff": 22, "n_kv_heads": 4, "qk_norm": False}
    ),
    "one head": SHAPE.model_copy(
        update={"n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "qk_norm": False}
    ),
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("prenorm", {}),
    ("full_attnres", {}),
    ("full_attnres", {"key_norm": False}),
    ("full_attnres", {"logit_scale": 0.5}),
    ("block_attnres", {}),
    ("block_attnres", {"num_blocks": 1}),
    ("block_attnres", {"num_blocks": 3}),
    ("block_attnres", {"block_size": 4}),
    ("block_attnres", {"block_size": 2, "key_norm": False, "logit_scale": 0.3}),
    ("block_attnres", {"num_blocks": 3, "two_phase": True}),
]


@pytest.fixture
def no_gradients() -> Any:
    with torch.inference_mode():
        yield


class Session:
    """Rows that are decoded step by step, each at positions of its own, padded on the left.

    Args:
        model: the decoder.
        tokens_BT: what is given to it.
        padding_B: how many of each row's first tokens are padding; None for no mask at all.
        capacity: of the cache.
    """

    def __init__(
        self, model: Transformer, tokens_BT: Tensor, padding_B: Tensor | None, capacity: int = 20
    ) -> None:
        self.model, self.tokens_BT, self.padding_B = model, tokens_BT, padding_B
        self.cache = Cache(layer_class_to_replicate=functools.partial(Growing, capacity, None))
        self.done = 0

    def step(self, count: int = 1) -> Tensor:
        """Hidden states of the next tokens, (B, count, D)."""
        place_T = torch.arange(self.done, self.done + count)
        padding_B = torch.zeros(len(self.tokens_BT)) if self.padding_B is None else self.padding_B
        positions_BT = (place_T - padding_B[:, None]).clamp(min=0)
        mask = None
        if self.padding_B is not None:
            place_S = torch.arange(self.done + count)
            seen_BTS = (place_S <= place_T[:, None]) & (place_S >= padding_B[:, None, None])
            mask = additive(seen_BTS | (place_S == place_T[:, None]), torch.float32)
        tokens_BT = self.tokens_BT[:, self.done : self.done + count]
        self.done += count
        return self.model.hidden(tokens_BT, positions_BT, mask, self.cache)

    def keep(self, rows: list[int]) -> None:
        """Lets the other rows go."""
        self.cache.batch_select_indices(torch.tensor(rows))
        self.tokens_BT = self.tokens_BT[rows]
        self.padding_B = None if self.padding_B is None else self.padding_B[rows]

    def cached(self) -> list[Tensor]:
        """Keys and values of all layers."""
        return [
            buffer[:, :, : self.done]
            for layer in self.cache.layers
            for buffer in (layer.keys, layer.values)
        ]


def made(name: str, options: dict[str, Any], shape: ModelShape = SHAPE) -> Transformer:
    """A model that is away from its start, but not so steep that it multiplies rounding."""
    model = fresh(name, options, shape)
    scatter(model.parameters(), 0.05)
    return model


def rows_of(batch: int, length: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, SHAPE.vocab_size, (batch, length), generator=generator)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each step that was offered to the compiled call, whether it took it."""
    seen: list[bool] = []
    function = transformer.decode_step

    def watched(*arguments: Any) -> Tensor | None:
        output = function(*arguments)
        seen.append(output is not None)
        return output

    monkeypatch.setattr(transformer, "decode_step", watched)
    return seen


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def both(run: Callable[[], list[Tensor]]) -> None:
    """The same with kernels and without."""
    with kernels(False):
        expected = run()
    found = run()
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("padded", [False, True])
def test_steps_equal_plain_torch(
    name: str, options: dict[str, Any], padded: bool, taken: list[bool]
) -> None:
    model = made(name, options)

    def run() -> list[Tensor]:
        padding = torch.tensor([3, 0, 5, 1, 0]) if padded else None
        session = Session(model, rows_of(5), padding)
        return [session.step(7), *(session.step() for _ in range(5)), *session.cached()]

    both(run)
    assert taken == [False] * 5 + [True] * 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 7, 33])
@pytest.mark.parametrize("name", ["prenorm", "full_attnres", "block_attnres"])
def test_steps_equal_a_whole_pass(size: str, batch: int, name: str, taken: list[bool]) -> None:
    options = {"num_blocks": 2} if name == "block_attnres" else {}
    model, tokens = made(name, options, SIZES[size]), rows_of(batch)
    session = Session(model, tokens, None)
    steps = torch.cat([session.step(3), *(session.step() for _ in range(9))], dim=1)
    with kernels(False):
        assert_close(steps, model.hidden(tokens))
    assert taken == [True] * 9


@pytest.mark.parametrize("padded", [False, True])
def test_steps_of_several_tokens_and_rows_that_leave(padded: bool, taken: list[bool]) -> None:
    model = made("block_attnres", {"num_blocks": 3})

    def run() -> list[Tensor]:
        session = Session(model, rows_of(6), torch.arange(6) % 4 if padded else None)
        outputs = [session.step(4), session.step(), session.step(2), session.step()]
        session.keep([4, 0, 1])
        outputs += [session.step(), session.step(2)]
        session.keep([2])
        return [*outputs, session.step(), *session.cached()]

    both(run)
    assert taken == [False] * 4 + [True] * 4


def test_rows_share_positions_and_a_mask(taken: list[bool]) -> None:
    model, tokens = made("full_attnres", {}), rows_of(3)

    def run() -> list[Tensor]:
        session = Session(model, tokens, None)
        first = session.step(4)
        mask = torch.zeros(1, 1, 1, 5)
        mask[..., 1] = -torch.inf
        return [first, model.hidden(tokens[:, 4:5], torch.tensor([[9]]), mask, session.cache)]

    both(run)
    assert taken == [False, True]


def test_changed_weights_are_seen() -> None:
    def change(model: Transformer, step: int) -> None:
        attention, mlp = model.layers[1].attention, model.layers[3].mlp
        generator = torch.Generator().manual_seed(step)
        noise = 0.1 * torch.randn(attention.out.weight.shape, generator=generator)
        if step == 0:
            attention.out.weight.add_(noise)
        elif step == 1:
            attention.out.weight.data = noise
        elif step == 2:
            attention.out.weight = torch.nn.Parameter(2 * noise)
        elif step == 3:
            attention.out = torch.nn.Linear(*noise.shape[::-1], bias=False)
            attention.out.weight.copy_(noise)
        elif step == 4:
            mlp.norm.weight.mul_(2)
        else:
            model.residual.query.neg_()

    def run() -> list[Tensor]:
        model, outputs = made("block_attnres", {}), []
        session = Session(model, rows_of(2), None)
        session.step(3)
        for step in range(6):
            change(model, step)
            outputs.append(session.step())
        return outputs

    both(run)


def test_two_threads_equal_one() -> None:
    model, before = made("block_attnres", {}), torch.get_num_threads()
    outputs = []
    for threads in (1, 2):
        session = Session(model, rows_of(11), torch.arange(11) % 3)
        session.step(5)
        torch.set_num_threads(threads)
        try:
            outputs.append([session.step(), session.step(), *session.cached()])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


OTHERS = [
    ("full_attnres", {"mixing": "sigmoid"}),
    ("full_attnres", {"mixing": "static"}),
    ("full_attnres", {"query": "input_dependent"}),
    ("full_attnres", {"window": 2}),
    ("full_attnres", {"heads": 2}),
    ("rms_block_attnres", {}),
    ("postnorm", {}),
    ("mhc", {}),
    ("value_residual", {}),
]


@pytest.mark.parametrize(("name", "options"), OTHERS, ids=str)
def test_other_residuals_go_layer_by_layer(
    name: str, options: dict[str, Any], taken: list[bool]
) -> None:
    model, tokens = made(name, options), rows_of(2)
    session = Session(model, tokens, None)
    steps = torch.cat([session.step(3), *(session.step() for _ in range(9))], dim=1)
    assert_close(steps, model.hidden(tokens), 1e-4)
    assert not taken


def test_a_subclass_does_not_inherit_the_step(taken: list[bool]) -> None:
    class Doubled(PreNorm):
        def read(self, state: Tensor, sublayer: int) -> tuple[Tensor, Tensor]:
            return state, 2 * state

    model = made("prenorm", {})
    model.residual.__class__ = Doubled
    session = Session(model, rows_of(1), None)
    session.step(3)
    session.step()
    assert not taken


def frozen(session: Session) -> Tensor:
    session.model.residual.frozen = True
    return session.step()


def with_gradients(session: Session) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        return session.step()


def in_bf16(session: Session) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return session.step()


def with_one_layer_in_fp64(session: Session) -> Tensor:
    session.model.layers[1].mlp.norm.weight.data = torch.ones(SHAPE.d_model).double()
    return session.step()


def masked_by_head(session: Session) -> Tensor:
    mask = torch.zeros(1, SHAPE.n_heads, 1, 4)
    mask[:, 1, :, 2] = -torch.inf
    return session.model.hidden(session.tokens_BT[:, 3:4], torch.tensor([[3]]), mask, session.cache)


def masked_by_truth(session: Session) -> Tensor:
    mask = torch.tensor([True, False, True, True]).view(1, 1, 1, 4)
    return session.model.hidden(session.tokens_BT[:, 3:4], torch.tensor([[3]]), mask, session.cache)


def without_kernels(session: Session) -> Tensor:
    with kernels(False):
        return session.step()


def with_one_layer_behind(session: Session) -> Tensor:
    session.cache.layers[1].filled -= 1
    return session.step()


REFUSED = [
    frozen,
    with_gradients,
    in_bf16,
    with_one_layer_in_fp64,
    masked_by_head,
    masked_by_truth,
    with_one_layer_behind,
    without_kernels,
]


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_what_the_step_does_not_know(step: Callable[[Session], Tensor], taken: list[bool]) -> None:
    with torch.inference_mode(False), torch.no_grad():
        session = Session(made("full_attnres", {}), rows_of(3), None)
        session.step(3)
    taken.clear()
    output = step(session)
    assert output.shape == (3, 1, SHAPE.d_model)
    assert True not in taken
    assert session.cache.get_seq_length() == 4


def test_other_caches_go_layer_by_layer(taken: list[bool]) -> None:
    model, tokens = made("prenorm", {}), rows_of(2)
    cache = DynamicCache()
    outputs = [model.hidden(tokens[:, :3], None, None, cache)]
    for place in range(3, 12):
        position = torch.tensor([[place]])
        outputs.append(model.hidden(tokens[:, place : place + 1], position, None, cache))
    assert_close(torch.cat(outputs, dim=1), model.hidden(tokens))
    assert True not in taken


def test_a_cache_is_filled_to_its_end(taken: list[bool]) -> None:
    session = Session(made("prenorm", {}), rows_of(2), None, capacity=5)
    session.step(3)
    session.step()
    session.step()
    assert taken == [True, True]
    assert [layer.room() for layer in session.cache.layers] == [None] * SHAPE.n_layers
    with pytest.raises(IndexError, match="6 tokens do not fit a cache of 5"):
        session.step()
