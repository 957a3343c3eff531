import pytest
from charted import Charted, charted
from fabricate import fabricate
from sweeps import rates_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Charted:
    folder = fabricate(
        tmp_path_factory.mktemp("charted"),
        multipliers={"block_attnres": 1.3},
        step_times={"block_attnres": 1.2},
        missing=["full_attnres-d32-s0"],
    )
    return charted(folder)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Charted:
    folder = fabricate(
        tmp_path_factory.mktemp("swept"), study=rates_study(), multipliers={"mhc_x2": 1.9}
    )
    return charted(folder)
