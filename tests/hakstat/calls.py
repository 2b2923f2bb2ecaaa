"""calls.py TRUTH JSON [strace OUTPUT]: says what differs between what a program (calls.c) knows of
its system calls, or strace -c counted, and the report of hakstat syscalls or locks."""
import json
import sys

truth, report = open(sys.argv[1]).read().split("\n"), json.load(open(sys.argv[2]))
rows = report["rows"]
bad = 0


def wrong(text):
    global bad
    bad += 1
    print(text)


def equal(what, got, want):
    if got != want:
        wrong(f"{what}: {got}, not {want}")


def counts(caller, names):
    mine = [r for r in rows if r["caller"] == caller and r["syscall"] in names]
    return sum(r["calls"] for r in mine), sum(r["errors"] for r in mine)


def call_line(caller, name, calls, errors):
    names = ("mmap", "mremap") if name == "map" else (name,)
    got = counts(caller, names)
    if caller == "allocator":  # its counters do not count errors
        equal(f"{caller} {name}", got[0], int(calls))
    else:
        equal(f"{caller} {name}", got, (int(calls), int(errors)))


def one(what, found):
    if len(found) != 1:
        wrong(f"{what}: {len(found)} rows")
        return None
    return found[0]


def total_of(r, what, waits, least, most):
    equal(f"{what}: waits", r["waits"], waits)
    if not least <= r["wait_ns"] <= most:
        wrong(f"{what}: {r['wait_ns']} ns, not from {least} to {most}")
    if r["max_ns"] is None or not r["wait_ns"] / max(waits, 1) <= r["max_ns"] <= r["wait_ns"]:
        wrong(f"{what}: the longest is {r['max_ns']}")
    slots = [h for h in report["histograms"] if h["lock"] == r["lock"]][0]["slots"]
    equal(f"{what}: in the histogram", sum(s["waits"] for s in slots), r["waits"])
    if sum(s["from_ns"] * s["waits"] for s in slots) > r["wait_ns"]:
        wrong(f"{what}: the histogram holds more than all")


def wait_line(name, waits, least, most, word):
    waits, least, most = int(waits), int(least), int(most)
    locks = [r for r in rows if r["owner"] == "allocator"]
    word = int(word, 16)
    if name == "mutex":
        r = one("the mutex", [r for r in rows if r["address"] == word])
        # who is woken may find it taken again and sleep once more
        if r:
            total_of(r, name, max(waits, r["waits"]), least, most)
            equal("the mutex by its name", r["lock"], "mutex")
            equal("the mutex is waited for by", r["owner"], "application")
            equal("the mutex: operation", r["futex_op"], "wait")
            split = report["futex"]["application_locks"]
            if split["ns"] < r["wait_ns"] or split["waits"] < r["waits"]:
                wrong(f"less in all, {split}, than of the mutex")
    else:
        r = one(name, [r for r in locks if r["lock"] == name])
        if r:
            total_of(r, name, waits, least, most)
            if not least <= r["asleep_ns"] <= r["wait_ns"]:
                wrong(f"{name}: asleep {r['asleep_ns']} ns, not from {least} to {r['wait_ns']}")
            equal("asleep for the allocator", report["futex"]["allocator"]["ns"],
                  sum(r["asleep_ns"] for r in locks))
        for other in locks:
            if other["lock"] != name and other["wait_ns"] > least / 2:  # a holder may be preempted
                wrong(f"{other['lock']}: {other['wait_ns']} ns for nothing")
        if [r for r in rows if r["address"] == word and r["owner"] != "allocator"]:
            wrong(f"the word of {name} is among the application's")


def stuck_line(word):
    r = one("stuck", [r for r in rows if r["address"] == int(word, 16)])
    if r:
        equal("stuck: threads", r["now"], 2)
        equal("stuck: waits that ended", r["waits"], 0)
        if not 1.9 <= r["threads_mean"] <= 2.1:
            wrong(f"stuck: {r['threads_mean']} threads on average")


for line in truth:
    words = line.split()
    if not words:
        continue
    if words[0] == "wait":
        wait_line(*words[1:])
    elif words[0] == "stuck":
        stuck_line(*words[1:])
    elif len(sys.argv) < 4:
        call_line(*words)

if "counters" in report:
    c = report["counters"]
    equal("mmap and mremap by its counter", counts("allocator", ("mmap", "mremap"))[0], c["maps"])
    equal("munmap by its counter", counts("allocator", ("munmap",))[0], c["unmaps"])
    equal("madvise by its counter", counts("allocator", ("madvise",))[0], c["purges"] + c["fills"])
    total = report["total"]
    for caller in total:
        mine = [r for r in rows if r["caller"] == caller]
        for key in "calls", "errors", "time_ns":
            equal(f"total {caller} {key}", total[caller][key], sum(r[key] for r in mine))
equal("not counted", report["not_counted"], 0)

if len(sys.argv) > 4:
    theirs = {}
    for line in open(sys.argv[4]):
        words = line.split()
        if len(words) in (2, 3) and words[1].isdigit() and words[0] != "total":
            theirs[words[0]] = (int(words[1]), int(words[2]) if len(words) > 2 else 0)
    ours = {}
    for r in rows:
        calls, errors = ours.get(r["syscall"], (0, 0))
        ours[r["syscall"]] = calls + r["calls"], errors + r["errors"]
    if len(theirs) < 5:
        wrong("strace counted nothing")
    for name in sorted(theirs.keys() | ours.keys()):
        equal(f"{name}, as strace counts", ours.get(name, (0, 0)), theirs.get(name, (0, 0)))
sys.exit(bad != 0)
