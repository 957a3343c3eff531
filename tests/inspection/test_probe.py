import pytest
import torch
from cases import SHAPE, build, tokens
from torch import Tensor

from attnres_eval.inspection.probe import probing

L = SHAPE.n_sublayers


def test_a_probe_changes_nothing_and_sees_everything() -> None:
    model = build("full_attnres", {}).eval()
    residual = model.residual
    with torch.no_grad(), probing(model) as probe:
        seen = model(tokens())
    assert model.residual is residual
    with torch.no_grad():
        assert torch.equal(seen, model(tokens()))
    assert len(probe.trace.sources_BTD) == len(probe.trace.reads) == L + 1
    assert len(probe.trace.projected) == SHAPE.n_layers
    torch.testing.assert_close(probe.trace.sources_BTD[0], model.embedding(tokens()))
    torch.testing.assert_close(probe.trace.reads[0], model.embedding(tokens()))
    last = probe.trace.reads[L - 1]
    assert isinstance(last, Tensor)
    torch.testing.assert_close(probe.trace.sources_BTD[L], model.layers[-1].mlp(last))


def test_the_residual_comes_back_after_an_error() -> None:
    model = build("prenorm", {})
    residual = model.residual
    with pytest.raises(RuntimeError, match="in the middle"), probing(model):
        raise RuntimeError("in the middle")
    assert model.residual is residual


def test_a_silenced_sublayer_adds_nothing() -> None:
    """As if its last matrix were zero, and nothing else differs."""
    model = build("prenorm", {}).eval()
    with torch.no_grad():
        with probing(model, silenced=4) as probe:
            silenced = model(tokens())
        assert not torch.allclose(silenced, model(tokens()))
        model.layers[2].attention.out.weight.zero_()
        torch.testing.assert_close(silenced, model(tokens()))
    assert not probe.trace.sources_BTD[5].any()
    assert probe.trace.sources_BTD[6].any()
