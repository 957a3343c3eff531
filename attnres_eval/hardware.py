"""Accelerators by name, as their vendors' data sheets have them. Torch-free."""

import difflib
import re
from dataclasses import dataclass

from attnres_eval.errors import UserError

MOST_DEVICES = 1_000_000


@dataclass(frozen=True)
class Device:
    """One accelerator. Figures are per device."""

    title: str
    flops_per_second: float
    """Dense bf16 products, without sparsity."""
    memory_bytes: float
    """A data sheet's GB are 1e9 bytes."""
    source: str


DEVICES = {
    "a100": Device("NVIDIA A100 SXM 80 GB", 312e12, 80e9, "NVIDIA A100 data sheet"),
    "h100": Device(
        "NVIDIA H100 SXM", 989.4e12, 80e9, "NVIDIA H100 data sheet: half of 1,979 with sparsity"
    ),
    "h200": Device(
        "NVIDIA H200 SXM", 989.4e12, 141e9, "NVIDIA H200 data sheet: half of 1,979 with sparsity"
    ),
    "b200": Device(
        "NVIDIA B200", 2250e12, 180e9, "NVIDIA DGX B200 data sheet: an eighth of the system"
    ),
    "mi300x": Device("AMD Instinct MI300X", 1307.4e12, 192e9, "AMD Instinct MI300X data sheet"),
}
"""By the name that `--hardware` takes."""

DEVICES_A_NODE = 8
"""Of the vendors' systems (DGX, HGX, and AMD's platform) with any of these."""


@dataclass(frozen=True)
class Cluster:
    """So many devices of one kind."""

    name: str
    """As in `DEVICES`."""
    device: Device
    devices: int

    @property
    def devices_a_node(self) -> int:
        """Devices that a job asks of each node."""
        return min(self.devices, DEVICES_A_NODE)


def parse_hardware(text: str) -> Cluster:
    """Reads `h100x64`, or `h100` for a single one.

    Raises:
        UserError: no such device, or no such number of them.
    """
    found = re.fullmatch(r"([a-z]+[0-9]+[a-z]?)(?:x([0-9]+))?", text.lower())
    name = found[1] if found else text
    if found is not None and found[1] in DEVICES:
        devices = int(found[2] or 1)
        if not 1 <= devices <= MOST_DEVICES:
            raise UserError(f"hardware {text!r}: give 1 to {MOST_DEVICES:,} devices")
        if devices > DEVICES_A_NODE and devices % DEVICES_A_NODE:
            raise UserError(
                f"hardware {text!r}: a node has {DEVICES_A_NODE} devices;"
                f" give {DEVICES_A_NODE} or fewer, or a multiple of {DEVICES_A_NODE}"
            )
        return Cluster(found[1], DEVICES[found[1]], devices)
    near = difflib.get_close_matches(name.lower(), DEVICES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(DEVICES)}"
    raise UserError(
        f"unknown hardware {text!r}: {hint}; give a name, x and the number of devices, as h100x64"
    )
