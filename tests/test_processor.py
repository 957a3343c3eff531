import pytest

from attnres_eval import processor


def _as(monkeypatch: pytest.MonkeyPatch, flags: str, name: str = "AMD EPYC") -> str:
    listed = {"model name": name, "flags": flags}
    monkeypatch.setattr(processor, "_listed", lambda key: listed[key])
    return processor.cpu_name()


def test_generations_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = "fpu avx avx2 fma"
    assert _as(monkeypatch, flags) == "AMD EPYC with AVX2"
    flags += " avx512f avx512_bf16"
    assert _as(monkeypatch, flags) == "AMD EPYC with AVX-512, bf16"
    assert _as(monkeypatch, flags + " amx_bf16", "Xeon") == "Xeon with AVX-512, bf16, AMX"


def test_a_processor_that_lists_no_flags_has_its_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _as(monkeypatch, "", "Arm") == "Arm"
    monkeypatch.setattr(processor, "_listed", lambda key: "")
    assert processor.cpu_name()
