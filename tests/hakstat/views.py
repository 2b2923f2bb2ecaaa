#!/usr/bin/env python3
"""views.py SCENARIO JSON [CSV]: what hakstat reports of tests/hakstat/views.c. Prints what is not
so; nothing if all is."""
import csv
import json
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "helpers"))
from only_read import resident_of_read

BLOCKS, MIB = 20000, 1 << 20
scenario, report = sys.argv[1], json.load(open(sys.argv[2]))
rows = report["rows"]


def expect(what, found, wanted):
    if found != wanted:
        print(f"{what}: {found}, expected {wanted}")


def only(found, **what):
    match = [r for r in found if all(r[k] == v for k, v in what.items())]
    if len(match) != 1:
        print(f"{len(match)} rows with {what} instead of one")
        sys.exit()
    return match[0]


def threads():
    maker, taker = only(rows, thread="maker"), only(rows, thread="taker")
    expect("maker allocs", maker["allocs"], BLOCKS)
    expect("maker frees", maker["frees"], 0)
    expect("maker sends", maker["remote_blocks"], 0)
    expect("maker waits", maker["waits"] is not None, True)
    expect("taker allocs", taker["allocs"], 0)
    expect("taker hit rate", taker["hit_rate"], None)
    expect("taker frees", taker["frees"], BLOCKS)
    before = only(json.load(open(sys.argv[3]))["rows"], thread="taker")
    held = taker["cached_blocks"] - before["cached_blocks"]
    expect("taker sends or keeps", (taker["remote_blocks"] + held, held >= 0), (BLOCKS, True))
    expect("in bytes", taker["cached_bytes"] - before["cached_bytes"], 112 * held)
    expect("taker bytes sent", taker["remote_bytes"], 112 * taker["remote_blocks"])
    expect("maker gets", 0 <= maker["received_blocks"] <= taker["remote_blocks"], True)
    expect("one thread each", [maker["threads"], taker["threads"]], [1, 1])
    main = [r for r in rows if r["thread"] not in ("maker", "taker")]
    expect("nobody else", sum(r["allocs"] + r["frees"] for r in main), 0)


def remote():
    pair = only(rows, freed_by="taker")
    expect("one pair", len(rows), 1)
    expect("owner", pair["owner"], "maker")
    expect("blocks", BLOCKS * 0.8 < pair["remote_blocks"] <= BLOCKS, True)
    expect("bytes", pair["remote_bytes"], 112 * pair["remote_blocks"])
    expect("batches", 0 < pair["remote_batches"] <= pair["remote_blocks"], True)
    expect("blocks a batch", abs(pair["blocks_per_batch"] * pair["remote_batches"] -
                                 pair["remote_blocks"]) < 0.01, True)
    expect("queue by BPF and by counters", pair["queued_blocks"], report["queued_blocks"])
    # the owner sleeps: whoever sends takes the queue in its place
    expect("helped", (pair["drains"] > 0, pair["helped"]), (True, pair["drains"]))
    expect("waits in order", pair["p50_ns"] <= pair["p99_ns"] <= pair["max_ns"], True)
    expect("a mean", 0 < pair["mean_ns"] <= pair["max_ns"], True)
    expect("dropped", report["batches_dropped"], 0)


def route():
    alerts = [r for r in rows if r["alert"]]
    expect("one alarm", len(alerts), 1)
    hole = only(rows, reason="over-aligned")
    expect("of the hole", (hole["from_bytes"], hole["to_bytes"], hole["requests"],
                           hole["mmap_fallbacks"]), (32768, 65535, 80, 50))
    expect("used again", hole["from_reuse"], 30)
    expect("is red", hole["alert"], True)
    size = only(rows, to_bytes=40960)
    expect("33 KiB by its class", (size["from_bytes"], size["requests"], size["mmap_fallbacks"]),
           (32769, 1000, 0))
    layers = ("from_cache", "from_page", "from_remote", "from_fresh", "from_adopted",
              "from_arena", "from_os", "mmap_fallbacks", "from_reuse")
    for row in rows:
        expect(f"layers of {row['from_bytes']}", sum(row[l] or 0 for l in layers), row["requests"])
    large = only(rows, from_bytes=524289)
    expect("1 MiB", large["requests"], 20)
    spans = [r for r in rows if r["from_bytes"] == 4 * MIB and r["reason"]]
    expect("5 MiB", sum(r["requests"] for r in spans), 10)
    expect("all", sum(r["requests"] for r in rows), 1000 + 80 + 20 + 10)


def memory():
    line = {r["memory"]: r for r in rows}
    expect("sum of all lines", sum(r["resident_bytes"] for r in rows), report["rss_bytes"])
    # looked up after hakstat: a page of code with a breakpoint is not mapped once that is gone
    kernel = int(sys.argv[3]) * 1024
    expect("RSS as the kernel says", kernel <= report["rss_bytes"] <= kernel + 32768, True)
    expect("difference", line["difference"]["resident_bytes"], 0)
    size = only(report["classes"], size=8192)
    expect("live blocks", size["live_blocks"], 1000)
    expect("live bytes", size["live_bytes"], 1000 * 8192)
    expect("the other half", size["cached_blocks"] + size["free_blocks"] >= 1000, True)
    expect("its bytes", size["cached_bytes"] + size["free_bytes"] >= 1000 * 8192, True)
    expect("memory of the class", size["live_bytes"] + size["cached_bytes"] + size["free_bytes"] +
           size["end_bytes"] + size["queued_bytes"], size["resident_bytes"])
    large = only(report["classes"], size="large")
    expect("3 of 10 MiB, and what was only read", large["live_bytes"], 3 * MIB + resident_of_read(6 * MIB))
    expect("kept", (line["reuse cache"]["resident_bytes"], line["reuse cache"]["count"]),
           (4 * MIB, 1))
    expect("live", line["live"]["resident_bytes"],
           sum(c["live_bytes"] for c in report["classes"]))
    expect("stacks", MIB <= line["stacks"]["resident_bytes"] < 2 * MIB, True)
    expect("shared", line["shared memory"]["resident_bytes"], MIB)
    if os.path.isdir("/sys/kernel/mm/hugepages"):
        huge = line["huge pages"]
        expect("huge pages", (huge["resident_bytes"], huge["size_bytes"], huge["count"]), (0, 4 * MIB, 1))
    expect("of them in use", report["huge_bytes"], 0)
    other = line["other anonymous"]["resident_bytes"]
    expect("its own 5 MiB", 5 * MIB <= other < 5 * MIB + 256 * 1024, True)
    expect("metadata", line["metadata"]["resident_bytes"] > 0, True)
    pages = report["pages"]
    expect("least used pages first", [p["used"] for p in pages], sorted(p["used"] for p in pages))
    expect("pages of the class", any(p["size"] == 8192 and 0 < p["live_blocks"] < p["capacity"]
                                     for p in pages), True)


def backed(classes):
    """What the classes view says, by gauges, against what memory found page by page."""
    found = {r["size"]: r for r in report["classes"]}
    for r in classes:
        if r["size"] == "large" or r["size"] > 65536:
            continue
        what, pages = f"class {r['size']}: ", found.get(r["size"], {})
        expect(what + "held", r["live_blocks"] * r["size"] + r["waste_bytes"] + r["unbacked_bytes"],
               r["held_bytes"])
        expect(what + "without memory", pages.get("unbacked_bytes", 0), r["unbacked_bytes"])
        expect(what + "in memory or not", pages.get("resident_bytes", 0) + r["unbacked_bytes"]
               <= r["held_bytes"], True)
    return only(classes, size=8192)


def trimmed():
    line = {r["memory"]: r for r in rows}
    expect("sum of all lines", sum(r["resident_bytes"] for r in rows), report["rss_bytes"])
    expect("difference", line["difference"]["resident_bytes"], 0)
    one = backed(json.load(open(sys.argv[3]))["classes"])
    expect("given back", 7 * MIB < one["unbacked_bytes"] < 9 * MIB, True)
    expect("waste", one["waste_bytes"] < MIB, True)
    expect("free, in memory", only(report["classes"], size=8192)["free_bytes"] < MIB, True)


def many():
    expect("rows", len(rows), 1001)
    expect("names", sum(r["thread"] == "many" for r in rows), 1000)


def convoy():
    fighters = [r for r in rows if r["thread"] == "fighter"]
    expect("fighters", len(fighters), 4)
    locks = json.load(open(sys.argv[3]))["locks"]
    for count in ("waits", "wait_ns"):
        expect(count, sum(r[count] for r in rows), sum(l[count] for l in locks))
    expect("there was a convoy", sum(r["waits"] for r in fighters) > 0, True)
    expect("the rest of the process stood aside", sum(r["waits"] for r in rows),
           sum(r["waits"] for r in fighters))


def rate(blocks):
    """columns.c:rate_text, of blocks a second"""
    v, units = blocks / report["duration_s"], ["", "k", "M"]
    if not blocks:
        return "."
    if v < 9.95:
        return f"{v:.1f}"
    while v >= 999.5:
        v, units = v / 1000, units[1:]
    return f"{v:.0f}{units[0]}" if units[0] == "" or v >= 99.95 else f"{v:.1f}{units[0]}"


def matrix():
    """The matrix of `crowd' at several widths, against the pairs in JSON."""
    sent, got = {}, {}
    for r in rows:
        sent.setdefault(r["freed_by"], {})[r["owner"]] = r["remote_blocks"]
        got[r["owner"]] = got.get(r["owner"], 0) + r["remote_blocks"]
    expect("pairs", (len(rows), len(got), sorted(sent)), (40, 20, ["first", "second"]))
    first, second = (sum(sent[f].values()) for f in ("first", "second"))
    expect("three quarters and a quarter", (first > second > 0, first + second <= 21000, first > 12000),
           (True, True, True))
    for path in sys.argv[3:]:
        width = int(path.rsplit(".", 1)[1])
        lines = open(path).read().splitlines()
        expect(f"{width}: longest line", max(map(len, lines)) <= width, True)
        at = [i for i, l in enumerate(lines) if l.startswith(" blocks/s to ")]
        expect(f"{width}: one matrix", len(at), 1)
        head = lines[at[0]].split()[2:]
        expect(f"{width}: ends with the others", head[-1], "others")
        shown, others = head[:-2], int(head[-2])
        expect(f"{width}: as many as fit", (len(shown) + 1, others), ((width - 16) // 11, 20 - len(shown)))
        expect(f"{width}: the biggest, in order", [got[o] for o in shown], sorted(got.values())[::-1][:len(shown)])
        for line, freer in zip(lines[at[0] + 1:], ("first", "second")):
            rest = sum(sent[freer].values()) - sum(sent[freer][o] for o in shown)
            expect(f"{width}: {freer}", line.split(), [freer] + [rate(sent[freer][o]) for o in shown] + [rate(rest)])


def same_as_csv():
    text = open(sys.argv[3], newline="").read()
    expect("line ends", text.count("\n"), text.count("\r\n"))
    head, *lines = list(csv.reader(text.splitlines(keepends=True)))
    expect("the same columns", head, [k for k in rows[0] if k != "alert"])
    expect("the same rows", len(lines), len(rows))
    for line in lines:
        expect("cells", len(line), len(head))


{"threads": threads, "remote": remote, "route": route, "memory": memory, "trimmed": trimmed, "many": many,
 "convoy": convoy, "matrix": matrix, "csv": same_as_csv}[scenario]()
