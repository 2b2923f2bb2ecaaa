#!/usr/bin/env python3
"""leaks.py leak|clean JSON: what hakstat leaks --all says of tests/hakstat/leaky.c."""
import json
import sys

mode, report = sys.argv[1], json.load(open(sys.argv[2]))
rows = {}
for r in report["rows"]:
    for f in r["frames"]:
        if f["function"] in ("request", "set_value", "fill_cache", "new_session", "leak_one"):
            rows[f["function"]] = r
            break
    else:
        if r["verdict"] == "leak":
            print("named:", r["folded"])
verdicts = {name: r["verdict"] for name, r in rows.items()}
wanted = {"set_value": "freed", "fill_cache": "stopped", "new_session": "turnover"}
if mode == "leak":
    wanted["leak_one"] = "leak"
for name, verdict in wanted.items():
    if verdicts.get(name) != verdict:
        print(f"{name}: {verdicts.get(name)}, not {verdict}:", {k: v for k, v in rows.get(name, {}).items() if k != "frames"})
if report["leaks"]["named"] != (mode == "leak"):
    print("named:", report["leaks"])
if [r["folded"] for r in report["rows"] if r["alert"]] != [r["folded"] for r in report["rows"] if r["verdict"] == "leak"]:
    print("alert is not the verdict")
if mode == "leak" and "leak_one" in rows:
    r = rows["leak_one"]
    seconds = report["leaks"]["seconds"]
    if not 0.3e6 * seconds < r["grown_bytes"] < 2e6 * seconds: # 1e6 a second, but for a machine that stalls
        print(f"grew by {r['grown_bytes']} in {seconds} s")
    if r["confidence"] < 0.9999 or r["old_frees"] or sum(r["ages"]) != r["survivors"]:
        print(r["confidence"], r["old_frees"], r["ages"], r["survivors"])
    if abs(sum(r["growth"]) - r["grown_bytes"]) > 1:
        print("steps do not add up:", r["growth"], r["grown_bytes"])
