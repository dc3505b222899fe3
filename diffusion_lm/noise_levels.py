"""The data of Figure 5: how noisy every step of each schedule is.

python -m diffusion_lm.noise_levels --spec SPEC --output table=FILE

SPEC holds ``steps``, T, and ``schedules``, their names. The table has ``schedule,step,noise``, with the steps
0..T-1 and noise sqrt(1 - abar_t), the standard deviation of x_t given x_0.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

import numpy as np

from diffusion_lm.schedule import betas
from pipeline.command import Job, command
from pipeline.files import write_text


def noise_levels(schedule: str, steps: int) -> np.ndarray:
    """sqrt(1 - abar_t) for t = 0..T-1, as float64 [T].

    Raises:
        KeyError: an unknown schedule.
    """
    return np.sqrt(1 - np.cumprod(1 - betas(schedule, steps)))


def level_table(schedules: Sequence[str], steps: int) -> str:
    """The levels of all schedules as CSV, six decimals."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["schedule", "step", "noise"])
    for schedule in schedules:
        writer.writerows(
            [schedule, t, f"{noise:.6f}"] for t, noise in enumerate(noise_levels(schedule, steps))
        )
    return text.getvalue()


def main(job: Job) -> None:
    """Write the table."""
    write_text(job.outputs["table"], level_table(job.spec["schedules"], job.spec["steps"]))


if __name__ == "__main__":
    command(main, outputs=("table",))
