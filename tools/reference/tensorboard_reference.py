"""Reads a run's TensorBoard events with PyPI's tensorboard and compares them with its metrics.jsonl.

Usage: tensorboard_reference.py RUN_DIR

Every number of metrics.jsonl must be an event with the same step and the same value in single precision, and every
event must be such a number. A `null` (not a number) must be an event that isn't finite. Ends with 1 on a difference.
"""

import json
import math
import pathlib
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SHOWN = 10


def logged(run: pathlib.Path) -> dict[tuple[str, int], float]:
    """The values of metrics.jsonl by name and step."""
    values = {}
    with open(run / "metrics.jsonl", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            record = json.loads(line)
            step = record.pop("step")
            for name, value in record.items():
                if (name, step) in values:
                    raise SystemExit(f"metrics.jsonl:{number}: step {step} has {name} twice")
                values[name, step] = math.nan if value is None else float(value)
    return values


def shown(run: pathlib.Path) -> tuple[dict[tuple[str, int], float], list[str]]:
    """What TensorBoard would plot, by name and step, and the points it would plot twice."""
    # 0 keeps every event; the default keeps a sample.
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    points = [(name, e.step, e.value) for name in tags["scalars"] for e in events.Scalars(name)]
    points += [
        (name, e.step, float(e.tensor_proto.float_val[0]))
        for name in tags["tensors"]
        for e in events.Tensors(name)
    ]
    values, twice = {}, []
    for name, step, value in points:
        if (name, step) in values:
            twice.append(f"{name} at step {step}: two events")
        values[name, step] = value
    return values, twice


def equal(metric: float, event: float) -> bool:
    with numpy.errstate(over="ignore"):
        single = numpy.float32(metric)
    if not numpy.isfinite(single):
        return not math.isfinite(event)
    return single == numpy.float32(event)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    run = pathlib.Path(sys.argv[1])
    metrics = logged(run)
    events, faults = shown(run)
    for key in sorted(metrics.keys() | events.keys()):
        name, step = key
        if key not in events:
            faults.append(f"{name} at step {step}: {metrics[key]} has no event")
        elif key not in metrics:
            faults.append(f"{name} at step {step}: the event {events[key]} is not in metrics.jsonl")
        elif not equal(metrics[key], events[key]):
            faults.append(f"{name} at step {step}: {metrics[key]} in metrics.jsonl, {events[key]} in the event")
    if not metrics:
        faults.append("metrics.jsonl is empty")
    for fault in faults[:SHOWN]:
        print(fault)
    if len(faults) > SHOWN:
        print(f"and {len(faults) - SHOWN} more")
    names = {name for name, _ in metrics}
    print(f"tensorboard: {len(metrics)} values of {len(names)} metrics, {len(faults)} differences")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
