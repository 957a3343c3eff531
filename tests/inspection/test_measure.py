import math
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import SHAPE, build

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file
from attnres_eval.inspection.measure import inspect_model
from attnres_eval.inspection.run import inspect_path, inspect_run
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.records import InspectionRecord, RunFolder, Summary, read_record

L = SHAPE.n_sublayers


def windows(count: int = 5, length: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(1, SHAPE.vocab_size, (count, length + 1), generator=generator)


def inspected(name: str = "full_attnres") -> InspectionRecord:
    model = build(name, {}).eval().requires_grad_(False)
    return inspect_model(model, windows(), 120, "weights", "text")


def test_loss_and_magnitudes_are_those_of_the_plain_model() -> None:
    record, model = inspected("prenorm"), build("prenorm", {}).eval()
    assert record.tokens == 120
    assert record.loss == pytest.approx(model.loss(windows()).item(), rel=1e-5)
    # By hand: the embedding's RMS, and the gradient at the last output, which is that of the
    # stream before the final norm.
    embedding = model.embedding(windows()[:, :-1])
    assert record.output_rms[0] == pytest.approx(embedding.square().mean().sqrt().item(), rel=1e-5)
    caught: list[torch.Tensor] = []
    model.final_norm.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    # In plain torch, where the norm is called as a module.
    with kernels(False):
        loss = model.loss(windows()) * 120
    (gradient,) = torch.autograd.grad(loss, caught[0])
    rms = gradient.square().mean().sqrt().item()
    assert record.gradient_rms[L] == pytest.approx(rms, rel=1e-4)


def test_gradients_are_the_derivatives_of_the_summed_loss() -> None:
    """Taken here by a bias added to one sublayer's output."""
    model = build("full_attnres", {}).double().eval()
    record = inspect_model(model, windows(), 120, "weights", "text")
    model.requires_grad_(False)
    bias = torch.zeros(5, 24, SHAPE.d_model, dtype=torch.float64, requires_grad=True)
    model.layers[1].mlp.register_forward_hook(lambda module, inputs, output: output + bias)
    (gradient,) = torch.autograd.grad(model.loss(windows()) * 120, bias)
    assert record.gradient_rms[4] == pytest.approx(gradient.square().mean().sqrt().item())


def test_skips_are_the_rise_of_the_loss() -> None:
    record, model = inspected(), build("full_attnres", {}).eval()
    with torch.no_grad():
        model.layers[1].mlp.down.weight.zero_()
        rise = model.loss(windows()).item() - record.loss
    assert record.skip_loss_change[3] == pytest.approx(rise, abs=1e-6)
    assert len(record.skip_loss_change) == L


def test_the_batching_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inspected()
    monkeypatch.setattr("attnres_eval.inspection.measure.BATCH_TOKENS", 1)
    apart = inspected()
    np.testing.assert_allclose(whole.gradient_rms, apart.gradient_rms, rtol=1e-4)
    np.testing.assert_allclose(whole.output_rms, apart.output_rms, rtol=1e-4)
    np.testing.assert_allclose(whole.mixing, apart.mixing, rtol=1e-4)
    np.testing.assert_allclose(whole.skip_loss_change, apart.skip_loss_change, atol=1e-5)


def test_a_model_is_left_as_it_was() -> None:
    model = build("block_attnres", {"num_blocks": 2}).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    residual = model.residual
    inspect_model(model, windows(), 120, "weights", "text")
    assert model.residual is residual
    assert not residual.frozen
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_run_is_inspected_on_its_held_out_text(finished: RunFolder) -> None:
    """The whole of it gives the loss that training recorded; twice gives the same bytes."""
    summary = read_record(finished.summary, Summary)
    record = inspect_run(finished, summary.validation_tokens)
    first = finished.inspection.read_bytes()
    assert record == read_record(finished.inspection, InspectionRecord)
    assert record.tokens == summary.validation_tokens
    assert record.loss == pytest.approx(summary.validation_nats_per_token, rel=1e-5)
    assert record.data_sha256 == summary.data_sha256
    assert record.model_sha256 == sha256_of_file(finished.checkpoint / "model.safetensors")
    inspect_run(finished, summary.validation_tokens)
    assert finished.inspection.read_bytes() == first
    finished.inspection.unlink()


def test_a_folder_or_its_checkpoint_and_any_text(finished: RunFolder, tmp_path: Path) -> None:
    by_run = inspect_path(finished.path, 70)
    assert by_run == inspect_path(finished.checkpoint, 70)
    assert (by_run.label, by_run.size) == ("full_attnres", "d16")
    assert (by_run.record.limit, by_run.record.tokens) == (70, 64)
    assert not finished.inspection.exists()
    text = tmp_path / "text.txt"
    text.write_text("red green then blue " * 3)
    record = inspect_path(finished.path, 8192, text).record
    assert record.data_sha256 == sha256_of_file(text)
    assert 0 < record.tokens < 32
    assert math.isfinite(record.loss)


def test_what_cannot_be_inspected_is_one_line(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        inspect_path(tmp_path / "absent", 64, tmp_path / "text.txt")
    with pytest.raises(UserError, match="give --text FILE"):
        inspect_path(tmp_path, 64)
    with pytest.raises(UserError, match="cannot be read as text"):
        inspect_path(finished.path, 64, tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="too few for one window"):
        inspect_path(finished.path, 64, tmp_path / "empty.txt")


def test_what_is_not_finite_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that a skip makes infinite is missing; a model that gives no finite one is refused."""
    model = build("prenorm", {}).eval()
    plain = model.loss

    def loss(tokens_BT: torch.Tensor) -> torch.Tensor:
        silenced = getattr(model.residual, "silenced", None)
        return plain(tokens_BT) * (torch.inf if silenced == 1 else 1)

    monkeypatch.setattr(model, "loss", loss)
    record = inspect_model(model, windows(), 120, "weights", "text")
    assert [change is None for change in record.skip_loss_change] == [i == 1 for i in range(L)]
    with torch.no_grad():
        model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        inspect_model(model, windows(), 120, "weights", "text")


def test_a_record_of_two_depths_is_refused() -> None:
    record = inspected().model_dump()
    for change in ({"output_rms": [1.0]}, {"mixing": [[1.0]]}, {"skip_loss_change": [0.1]}):
        with pytest.raises(ValueError, match="differ in depth"):
            InspectionRecord.model_validate(record | change)
