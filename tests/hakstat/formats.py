"""Every command of hakstat as text, JSON and CSV, of a process that takes every slow path.

usage: formats.py HAKSTAT PID TMP; prints what is wrong, a line each.

Commands are those hakstat itself lists: one that is not known here, or lacks a format, is wrong.
CSV must have a row (where the process gives one), every row as wide as its header, ended as RFC
4180 says; `hakstat help` must know every name in the header, and JSON have it as a key.
"""
import concurrent.futures, csv, io, json, subprocess, sys

hakstat, pid, tmp = sys.argv[1:]
p = ["-p", pid]
watched = p + ["-d", "0.1"]
of_alert = ["--alert", "rss>1 and class=* live_blocks>=0", "-i", "0.1", "--once"]
of_two = ["--diff", tmp + "/a.pb.gz", tmp + "/b.pb.gz"]
of_file = ["--replay", tmp + "/recording"]
# What each is called with, several times where it has several tables; () for those that print none.
calls = {
    "top": [watched + ["-n", "1"], ["-a", "-d", "0.1", "-n", "1"], of_file + ["-n", "1"]],
    "stat": [watched], "threads": [watched], "remote": [watched], "route": [watched],
    "memory": [watched] + [watched + ["--by", by] for by in ("class", "page")],
    "locks": [watched + ["--stacks"]], "syscalls": [watched],
    "stacks": [watched + ["--on", "refill,os_map"], watched + ["--on", "refill", "--by", "function"]],
    "heap": [watched + ["--mean", "4K"], of_two], "leaks": [watched + ["--mean", "4K", "--all"]],
    "trace": [p + ["-n", "20"]], "record": (), "report": [of_file, of_file + ["--view", "locks"]],
    "watch": [p + of_alert], "list": [[]], "probes": [[], p],
    "dump": [p] + [p + ["--by", by] for by in ("heap", "page", "total")] + [p + ["--block", "0x1000"], p + ["--check"]],
    "doctor": [[]], "help": [["hit_rate"], ["trace"]],
}
# doctor tells what is missing here; a heap that is looked at while it changes may not add up
in_rows = set() # keys of rows of JSON
statuses = {"watch": [5], "doctor": [0, 1, 4], "dump": [0, 1]}


def run(command, args, *more):
    r = subprocess.run([hakstat, command, *args, *more], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def listed():
    lines = run("help", [])[1].split("\n\n")[1].splitlines()
    return [line.split()[0] for line in lines]


def keys(v):
    if isinstance(v, dict):
        return set(v).union(*map(keys, v.values()))
    return set().union(*map(keys, v)) if isinstance(v, list) else set()


def rows_of(v):
    """The objects in lists, whatever holds the lists."""
    for e in v.values() if isinstance(v, dict) else v if isinstance(v, list) else ():
        if isinstance(v, list) and isinstance(e, dict):
            yield e
        yield from rows_of(e)


def judge_names(table):
    """A name means one thing wherever it stands, and one thing has one name."""
    for name, of in (("column", "heading"), ("heading", "column"), ("column", "unit")):
        there = {}
        for r in table:
            if r[name] and r[of]:
                there.setdefault(r[name], set()).add(r[of])
        for k in sorted(there):
            if len(there[k]) > 1:
                print("%s %s: more than one %s: %s" % (name, k, of, sorted(there[k])))


def judge_csv(text):
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if not rows or text.count("\r\n") < len(rows) or not text.endswith("\r\n"):
        return [], ["no lines that end as RFC 4180 says"]
    wrong = ["a row of %d cells below %d names: %s" % (len(r), len(rows[0]), r) for r in rows if len(r) != len(rows[0])]
    if len(rows) == 1:
        wrong.append("no row")
    if len(set(rows[0])) != len(rows[0]):
        wrong.append("a name twice")
    return rows[0], wrong


def judge_once(command, args):
    """Names in the header, what is wrong, and whether there was a row in both."""
    formats = {f: run(command, args, *([f] if f else [])) for f in ("", "--json", "--csv")}
    wrong = ["%s: status %d: %s" % (f or "text", r[0], r[2].strip()) for f, r in formats.items()
             if r[0] not in statuses.get(command, [0])]
    if wrong:
        return [], wrong, True
    text, objects, table = (r[1] for r in formats.values())
    if not text or "\x1b" in text or text[0] == "{" or text == table:
        wrong.append("no text")
    names, more = judge_csv(table)
    try:
        parsed = [json.loads(line) for line in objects.splitlines()]
    except ValueError:
        return names, wrong + more + ["no JSON"], True
    if command != "probes": # whose rows describe arguments, by name
        in_rows.update(k for o in parsed for r in rows_of(o) for k, v in r.items() if not isinstance(v, (dict, list)))
    found = keys(parsed)
    missing = set(names) - found
    # a trace has the arguments of all probes as columns, an object those of its own
    if missing and command != "trace":
        wrong.append("in CSV, not in JSON: %s" % sorted(missing))
    if command == "trace" and found - {"args", "off", "on", "off_s", "lost", "dropped"} - set(names):
        wrong.append("in JSON, not in CSV: %s" % sorted(found - set(names)))
    return names, wrong + more, "no row" not in more and all(o.get("rows") != [] for o in parsed)


def judge(call):
    command, args = call
    for _ in range(30): # the process may not have had a turn in that time
        names, wrong, rows = judge_once(command, args)
        if rows:
            break
    return " ".join([command] + args[:1] + args[-2:]), names, wrong


def main():
    table = json.loads(run("help", [], "--json")[1])["columns"]
    known = {r["column"] for r in table}
    judge_names(table)
    commands = listed()
    for c in sorted(set(commands) ^ set(calls)):
        print("%s: the commands there are and those tried here differ by it" % c)
    todo = [(c, a) for c in commands for a in calls.get(c, ())]
    used = set()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for what, names, wrong in pool.map(judge, todo):
            used |= set(names)
            for w in wrong:
                print("%s: %s" % (what, w))
    for name in sorted(used):
        status, text, _ = run("help", [name])
        if status or name not in known or not any(line.split()[:1] == [name] for line in text.splitlines()):
            print("hakstat help %s: not known" % name)
    for name in sorted(in_rows - known):
        print("%s: in a row of JSON, not known to help" % name)
    if len(used) < 100:
        print("only %d names" % len(used))


main()
