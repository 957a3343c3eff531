import pytest

from attnres_eval.errors import UserError
from attnres_eval.hardware import DEVICES, parse_hardware


def test_names_and_numbers() -> None:
    one = parse_hardware("h100")
    assert (one.devices, one.devices_a_node) == (1, 1)
    many = parse_hardware("H100x64")
    assert (many.name, many.devices, many.devices_a_node) == ("h100", 64, 8)
    assert parse_hardware("mi300xx8").device is DEVICES["mi300x"]
    assert parse_hardware("mi300x").devices == 1
    assert parse_hardware("a100x4").devices_a_node == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("h10x8", ("unknown hardware 'h10x8'", "did you mean h100")),
        ("tpu", ("unknown hardware", "there are a100, h100")),
        ("", ("unknown hardware",)),
        ("h100x", ("unknown hardware",)),
        ("h100x0", ("give 1 to",)),
        ("h100x99999999999", ("give 1 to",)),
        ("h100x12", ("a multiple of 8",)),
        ("h100x-8", ("unknown hardware",)),
    ],
)
def test_bad_hardware(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        parse_hardware(text)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_peaks_are_dense() -> None:
    # Twice these are the data sheets' figures with structured sparsity.
    assert DEVICES["h100"].flops_per_second == DEVICES["h200"].flops_per_second == 989.4e12
    assert all(1e14 < one.flops_per_second < 5e15 for one in DEVICES.values())
    assert all(one.memory_bytes % 1e9 == 0 and one.source for one in DEVICES.values())
