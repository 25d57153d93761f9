"""Learning rates of transformers' schedules, as shares of the peak: tests/fixtures/schedules.json.

    pip install torch transformers
    python tests/python/golden_schedules.py
"""

import json
from pathlib import Path

import torch
from transformers.optimization import get_scheduler, get_wsd_schedule

PEAK, END = 1e-3, 1e-5


def rates(scheduler, steps, warmup, cycles, power, decay):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    if scheduler == "warmup_stable_decay":
        schedule = get_wsd_schedule(
            optimizer,
            num_warmup_steps=warmup,
            num_stable_steps=steps - warmup - decay,
            num_decay_steps=decay,
        )
    else:
        extra = {
            "cosine_with_restarts": {"num_cycles": cycles},
            "polynomial": {"lr_end": END, "power": power},
        }.get(scheduler, {})
        schedule = get_scheduler(scheduler, optimizer, warmup, steps, extra)
    (function,) = schedule.lr_lambdas
    return [float(function(step)) for step in range(steps + 1)]


cases = []
for scheduler in [
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "warmup_stable_decay",
]:
    for warmup in [0, 7]:
        if scheduler == "constant" and warmup:
            continue
        for cycles, power in [(1, 1.0), (3, 2.0)]:
            case = dict(
                scheduler=scheduler, steps=40, warmup=warmup, cycles=cycles, power=power, decay=12
            )
            case["rates"] = rates(**case)
            cases.append(case)

path = Path(__file__).parent.parent / "fixtures" / "schedules.json"
path.write_text(json.dumps(cases, indent=1) + "\n")
