"""How this bundle's simulation is called.

The worker calls wire once for each task and keeps the bytes that it returns, one output
to a name. CSV, JSON, Parquet and Arrow become tables; anything else is kept as a file.
"""

import csv
import io

from model import sir


def wire(entrypoint: str, params: dict, seed: int) -> dict[str, bytes]:
    """Run one simulation. `entrypoint` is the study's model and scenario, as in
    "model.sir/baseline"."""
    _, _, scenario = entrypoint.partition("/")
    outputs = sir.simulate(scenario=scenario, seed=seed, **params)
    return {name: table(row) for name, row in outputs.items()}


def table(row: dict) -> bytes:
    """A table of one row, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue().encode()
