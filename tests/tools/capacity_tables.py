"""The table of ``docs/scale.md``: what a load needs, from the stored results of the benchmarks."""

from __future__ import annotations

from benchmarks.capacity import DEFAULT_MIX, mean, measured_costs, parse_arguments, planned

IMAGES_PER_DAY = (100_000, 1_000_000, 10_000_000)
GPU_IMAGES_PER_S = 1000
BULK_IMAGES, BULK_HOURS = 10_000_000, 10


def capacity_table() -> str:
    """Return the plans of the worked example, then one with GPUs, then a bulk run without peak or p95 target."""
    rows = [
        "| Images | Images/s at the peak | Replicas | Cores | GPUs | Mbit/s in | Mbit/s out "
        "| Cost per million images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    costs = measured_costs()
    loads = [(f"{images:,} a day", images, 0) for images in IMAGES_PER_DAY]
    loads.append((f"{loads[-1][0]}, GPUs of {GPU_IMAGES_PER_S:,} images/s", IMAGES_PER_DAY[-1], GPU_IMAGES_PER_S))
    for load, images, on_gpu in loads:
        values = planned(costs, parse_arguments([f"--images-per-day={images}", f"--gpu-images-per-s={on_gpu}"]))
        rows.append(
            f"| {load} | {values['images_per_s']:,.0f} | {values['replicas']:g} | {values['cores']:g} |"
            f" {values['gpus']:g} | {values['mbit_per_s_in']:,.0f} | {values['mbit_per_s_out']:,.0f} |"
            f" {values['cost_per_million']:.2f} |"
        )
    defaults = parse_arguments([])
    rate = BULK_IMAGES / BULK_HOURS / 3600
    cores = rate * mean(costs.cpu_s, DEFAULT_MIX)
    price = cores * defaults.core_price * BULK_HOURS / (BULK_IMAGES / 1e6)
    sent = rate * mean(costs.bytes_out, DEFAULT_MIX) * 8 / 1e6
    rows.append(
        f"| Bulk run: {BULK_IMAGES:,} in {BULK_HOURS} hours | {rate:,.0f} | | {cores:.0f} | 0 |"
        f" {rate * defaults.input_mb * 8:,.0f} | {sent:,.0f} | {price:.2f} |"
    )
    return "\n".join(rows)
