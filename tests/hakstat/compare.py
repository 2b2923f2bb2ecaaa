#!/usr/bin/env python3
"""compare.py KNOWN JSON [only] [nobpf]: the numbers hakstat reports against those the program knows, all
of them exactly. With "only" other classes may have moved, too: libc allocates while a process
starts. With "nobpf" nothing is known of events. Prints what differs; nothing if all is equal."""
import json
import sys

known, remote, fallback = {}, None, None
for line in open(sys.argv[1]):
    words = line.split()
    if words[0] == "remote":
        remote = [int(w) for w in words[1:]]
    elif words[0] == "fallback":
        fallback = [int(w) for w in words[1:]]
    elif words[0] != "done":
        sums = known.setdefault(int(words[0]), [0, 0, 0])
        for i in range(3):
            sums[i] += int(words[i + 1])
only = "only" in sys.argv[3:]
report = json.load(open(sys.argv[2]))


def expect(what, found, wanted):
    if found != wanted:
        print(f"{what}: {found}, the program says {wanted}")


def check_class(entry):
    name = f"class of {entry['size']} bytes"
    allocs, frees, live = known.get(entry["size"], [0, 0, 0])
    if only and entry["size"] not in known:
        return
    expect(name + ", allocs", entry["allocs"], allocs)
    expect(name + ", frees", entry["frees"], frees)
    if entry["size"] in known and not only:
        expect(name + ", live blocks", entry["live_blocks"] >= max(live, 0), True)
    if entry["allocs"] == 0:
        expect(name + ", hit rate", entry["hit_rate"], None)
    else:
        rate = 1 - entry["refills"] / entry["allocs"]
        expect(name + ", hit rate", abs(entry["hit_rate"] - rate) < 0.0001, True)
    expect(name + ", held", entry["held_bytes"] >= entry["live_blocks"] * entry["size"], True)
    expect(name + ", blocks per refill", entry["refill_blocks"] >= entry["refills"], True)


expect("schema", report["schema"], "hakstat.stat/2")
sizes = [entry["size"] for entry in report["classes"]]
expect("each size once", len(sizes), len(set(sizes)))
for size in known:
    expect(f"a class of {size} bytes is reported", size == 0 or size in sizes, True)
for entry in report["classes"]:
    if entry["size"] != 0:
        check_class(entry)
large = known.get(0, [0, 0, 0])
if not only or 0 in known:
    expect("large, allocs", report["large"]["allocs"], large[0])
    expect("large, frees", report["large"]["frees"], large[1])
if remote:
    expect("remote blocks", report["remote"]["blocks"], remote[0])
    expect("remote bytes", report["remote"]["bytes"], remote[1])
    expect("remote batches", 0 < report["remote"]["pushes"] <= remote[0], True)
if fallback:
    expect("mmap fallbacks", report["os"]["mmap_fallbacks"], fallback[0])
    expect("mmap fallback bytes", report["os"]["mmap_fallback_bytes"], fallback[1])
nobpf = "nobpf" in sys.argv[3:]
expect("lost events", report["self"]["lost"], None if nobpf else 0)
check = report["check"]
if nobpf:
    expect("the check of events", check, None)
for what, counted in (("allocs", "seen_allocs"), ("frees", "seen_frees"), ("refills", "refills"),
                      ("flushes", "flushes")):
    if not nobpf and check[f"bpf_{what}"] != check[f"counter_{counted}"]:
        print(f"{what}: BPF summed {check[f'bpf_{what}']}, "
              f"the counters say {check[f'counter_{counted}']}")
