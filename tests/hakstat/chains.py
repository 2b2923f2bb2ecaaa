"""Compares `hakstat stacks --json` with what a planted program did: chains.py KNOWN JSON [cut].

Each line of KNOWN, "COUNT BYTES innermost<...<outermost", must be in the report with exactly this
count and these bytes, by stacks that go from what was called of libhakmem through exactly these functions to
main, and on to the start of the process, or to the start of a thread; there must be no other.
"""
import json
import re
import sys


def bare(name):
    """A C++ name without its arguments."""
    depth, out = 0, ""
    for c in name:
        if c == "(":
            break
        out += c
    return out


def chain(row, known_names):
    names = [bare(f["function"] or "?") for f in row["frames"]]
    last = max((i for i, n in enumerate(names) if n in known_names), default=0)
    rest = names[last + 1:]
    return "<".join(names[:last + 1]), rest


def main():
    known = {}
    for line in open(sys.argv[1]):
        count, size, path = line.split(" ", 2)
        known[path.strip()] = (int(count), int(size))
    report = json.load(open(sys.argv[2]))
    names = {n for path in known for n in re.split(r"<(?![0-9])", path)}
    found = {}
    for row in report["rows"]:
        path, rest = chain(row, names)
        count, size = found.get(path, (0, 0))
        found[path] = (count + row["events"], size + row["bytes"])
        if not row["whole"]:
            print("not whole:", path, rest)
        if len(rest) > 4:
            print("more above", path, rest)
        if row["taken"] != row["events"]:
            print("estimated:", path)
    for path, numbers in known.items():
        if found.get(path) != numbers:
            print("expected", numbers, path, "found", found.get(path))
    for path, numbers in found.items():
        if path not in known:
            print("unexpected", numbers, path)
    s = report["stacks"]
    total = sum(n for n, _ in known.values())
    if (s["events"], s["taken"], s["lost"], s["left_out"]) != (total, total, 0, 0):
        print("totals:", s)


main()
