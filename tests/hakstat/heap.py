#!/usr/bin/env python3
"""heap.py held|freed KNOWN JSON MEAN: what hakstat heap says of tests/hakstat/holders.c. Exact facts
exactly; estimates within five standard errors, which follow from the known blocks and the mean."""
import json
import math
import sys

mode, known, report, mean = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3])), float(sys.argv[4])
heap = report["heap"]
bad = []


def exact(what, got, wanted):
    if got != wanted:
        bad.append(f"{what}: {got}, not {wanted}")


exact("samples taken of those the probes fired for", heap["samples"], heap["sampled"])
exact("samples by the target's own count", heap["sampled"], heap["sampled_by_target"] - heap.get("mark", 0))
exact("frees matched", heap["frees"], heap["freed"])
exact("frees by the target's own count", heap["freed"], heap["freed_by_target"])
exact("live", heap["live_samples"], heap["samples"] - heap["frees"])
exact("sum of the rows' samples", sum(r["samples"] for r in report["rows"]), heap["samples"])
exact("sum of the rows' frees", sum(r["sample_frees"] for r in report["rows"]), heap["frees"])
exact("frees of unknown blocks", heap["frees_unknown"], 0)
exact("lost", heap["lost"] + heap["unkept"], 0)
exact("mean", heap["mean_bytes"], mean)
if abs(sum(r["live_bytes"] for r in report["rows"]) - heap["live_bytes"]) > 1:
    bad.append("rows do not add up to live_bytes")
live = {}
allocated = {}
for r in report["rows"]:
    for f in r["frames"]:
        if (f["function"] or "").startswith("hold_"):
            live[f["function"]] = live.get(f["function"], 0) + r["live_bytes"]
            allocated[f["function"]] = allocated.get(f["function"], 0) + r["alloc_bytes"]
            break
    else:
        if r["live_bytes"] > 2 * mean:
            bad.append(f"somebody else holds {r['live_bytes']}: {r['folded']}")
for line in open(known):
    if " " not in line:
        continue
    name, blocks, total, each = line.split()
    blocks, total, each = int(blocks), int(total), int(each)
    p = 1 - math.exp(-each / mean)
    error = math.sqrt(blocks * each * each * (1 - p) / p)
    got = live.get(name, 0)
    if mode == "freed":
        exact(f"{name} is freed", got, 0)
    elif abs(got - total) > 5 * error + 1e-6 * total:
        bad.append(f"{name}: {got:.0f}, not {total} +- 5 * {error:.0f}")
    if name == "hold_nothing":
        total, error = 40000 * 1000, math.sqrt(40000 * 1e6 * (1 - p) / p)
        if abs(allocated.get(name, 0) - total) > 5 * error:
            bad.append(f"{name} allocated {allocated.get(name, 0):.0f}, not {total} +- 5 * {error:.0f}")
life = {f["function"]: r["lifetime_ns"] for r in report["rows"] for f in r["frames"][:1]}
if mode == "held" and life["hold_tiny"] is not None:
    bad.append(f"nothing of hold_tiny was freed, and it has a lifetime: {life['hold_tiny']}")
if mode == "freed" and not (life["hold_tiny"] > 1.5e8 and life["hold_nothing"] < life["hold_tiny"]):
    bad.append(f"lifetimes: {life}") # it was held while the test slept for 0.2 s
if mode == "held":
    ten = [r for r in heap["before"] if r["class_bytes"] == 10240]
    exact("blocks there before, of 10240 bytes", ten and ten[0]["before_blocks"], 1000)
if mode == "freed":
    exact("live samples", heap["live_samples"], 0)
    exact("live bytes", heap["live_bytes"], 0)
print("\n".join(bad))
sys.exit(bool(bad))
