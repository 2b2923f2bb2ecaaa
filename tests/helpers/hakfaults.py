#!/usr/bin/env python3
"""hakfaults.py HAKSTAT INJECT PID COMMAND TMP [QUOTA]: makes the system calls of hakstat's commands
fail, one at a time, and judges each run. PID is a process on libhakmem that rests, COMMAND one
for -c whose allocations are the same each time. Of each kind of call, QUOTA places (0: all).

Whatever fails: no signal, no hang; success only with the right output, or with "-" and null in
places; else an exit code of 1 to 4 and a line that says why."""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

hakstat, inject, pid, command, tmp = sys.argv[1:6]
quota = int(sys.argv[6]) if len(sys.argv) > 6 else 0
SECONDS = 20

CASES = {
    "stat -p": ["stat", "-p", pid, "-d", "0.1", "--json"],
    "stat -c": ["stat", "-c", command, "--json"],
    "top -n": ["top", "-p", pid, "-b", "-n", "1", "-d", "0.1"],
    "list": ["list", "--json"],
    "probes": ["probes", "-p", pid, "--json"],
    "doctor": ["doctor", "-p", pid, "--json"],
    "dump": ["dump", "-p", pid, "--json", "--pages"],
}
# Whose numbers are not judged here: a crash, a hang, half an output, an end without a word.
LOOSE = ["threads", "memory", "locks", "remote", "route", "syscalls", "stacks"]
CASES.update({c: [c, "-p", pid, "-d", "0.1", "--json"] for c in LOOSE})
CASES["stacks"] += ["--on", "refill"]
FAULTS = [("bpf", "EPERM"), ("bpf", "ENOMEM"), ("mmap", "ENOMEM"), ("openat", "EMFILE"),
          ("read", "EIO"), ("pread", "EIO"), ("readv", "EPERM"), ("readv", "ENOMEM"),
          ("write", "ENOSPC"), ("write", "SHORT"), ("write", "EINTR"), ("getdents", "EIO"),
          ("poll", "EINTR"), ("pidfd", "EMFILE"), ("ptrace", "EPERM"), ("wait", "EINTR"),
          ("socketpair,signalfd,clone", "EMFILE")]
# What differs from run to run, of a process that rests.
VOLATILE = {"duration_s", "counters_s", "self", "rss_bytes"}


def run(call, error, n, args):
    out = os.path.join(tmp, f"count.{os.getpid()}.{run.serial}")
    run.serial += 1
    p = subprocess.Popen([inject, call, error, str(n), out, hakstat, *args],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, start_new_session=True)
    try:
        stdout, stderr = p.communicate(timeout=SECONDS)
        code = p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, 9)
        stdout, stderr = p.communicate()
        code = "hang"
    try:
        with open(out) as f:
            count = int(f.read())
        os.unlink(out)
    except OSError:
        count = 0
    return code, stdout.decode("latin1"), stderr.decode("latin1"), count


run.serial = 0


def stable(value):
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [stable(v) for v in value]
    return value


def extract(case, text):
    """What a run must get right; None if it is not even whole."""
    if case == "top -n":
        # without the time (a first look may fail), hakstat's own cost, and the RSS, which moves
        # with breakpoints, and on some kernels with what another command was the first to read
        rows = [re.sub(r"RSS \S+", "", line).split() for line in text.splitlines()
                if "hakstat" not in line and not line.startswith("---")]
        return rows if len(rows) > 6 else None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if case in LOOSE:
        return True
    if case == "stat -c":
        return [[k["size"], k["allocs"], k["frees"], k["live_blocks"]] for k in data["classes"]]
    if case == "list":
        return [stable(p) for p in data["processes"] if str(p["pid"]) == pid]
    if case == "doctor":
        return {c["check"]: c["verdict"] for c in data["checks"]}
    return stable(data)


def less(ref, got):
    """The same, or unknown in places."""
    if got in (None, "-", "(-)") or ref == got:
        return True
    if isinstance(ref, dict) and isinstance(got, dict):
        return all(k in ref and less(ref[k], v) for k, v in got.items())
    if isinstance(ref, list) and isinstance(got, list) and len(ref) == len(got):
        return all(less(r, g) for r, g in zip(ref, got))
    return False


def judge(case, fault, ref, result):
    code, out, err, _ = result
    if code == "hang":
        return f"no end within {SECONDS} s"
    if code < 0 or code > 4:
        return f"ended with {code}: {err[-200:]}"
    if code:
        said = err.startswith("hakstat: ") or (case == "doctor" and '"missing"' in out)
        return None if said and len(err.splitlines()) <= 3 else f"code {code}, said: {err[-300:]!r}"
    got = extract(case, out)
    if got is None:
        return f"code 0 without whole output; said {err[-200:]!r}"
    if got == ref:
        return None
    if not less(ref, got) and not (case == "list" and got == [] and fault == "readv EPERM"):
        return f"code 0 with wrong output; said {err[-200:]!r}: {difference(ref, got)}"
    if fault.startswith("bpf") and case != "doctor" and not err:
        return f"without BPF, and not a word of it: {difference(ref, got)}"
    return None


def difference(ref, got, at=""):
    if isinstance(ref, dict) and isinstance(got, dict):
        for k in {**ref, **got}:
            if ref.get(k) != got.get(k):
                return difference(ref.get(k), got.get(k), f"{at}.{k}")
    if isinstance(ref, list) and isinstance(got, list) and len(ref) == len(got):
        for i, (r, g) in enumerate(zip(ref, got)):
            if r != g:
                return difference(r, g, f"{at}[{i}]")
    return f"{at}: {str(ref)[:100]} became {str(got)[:100]}"


def places(first, last, everywhere):
    """Numbers first .. last, at most `quota` of them, both ends included."""
    n = last - first + 1
    if n <= 0:
        return []
    if not quota or n <= quota or everywhere:
        return list(range(first, last + 1))
    step = (n - 1) / (quota - 1)
    return sorted({first + round(i * step) for i in range(quota)})


def main():
    runs, refs, wrong, done = [], {}, {}, {}
    loads = {call: run(call, "EPERM", 0, ["--version"])[3] for call, _ in FAULTS}
    for case, args in CASES.items():
        for call, error in FAULTS[:1] if case in LOOSE and quota else FAULTS:
            ref = run(call, error, 0, args)
            if case not in refs:
                refs[case] = extract(case, ref[1])
                if ref[0] or refs[case] is None:
                    print(f"not ok - {case}: works where nothing fails")
                    print(f"    code {ref[0]}: {ref[2][-300:]}")
                    refs[case] = None
                    break
            # those of the dynamic linker are not ours
            first = loads[call] + 1 if call in ("mmap", "openat", "read", "pread") else 1
            last = ref[3]
            if call == "ptrace":  # what follows the first is not refused by any kernel
                last = min(last, 1)
            everywhere = (case, call, error) == ("stat -p", "bpf", "EPERM")
            runs += [(case, call, error, n) for n in places(first, last, everywhere)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda r: run(r[1], r[2], r[3], CASES[r[0]]), runs)
        for (case, call, error, n), result in zip(runs, results):
            done[case] = done.get(case, 0) + 1
            why = judge(case, f"{call} {error}", refs[case], result)
            if why:
                wrong.setdefault(case, []).append(f"{call} {n} {error}: {why}")
    for case in CASES:
        if refs.get(case) is None:
            continue
        ok = not wrong.get(case) and done.get(case)
        print(f"{'ok' if ok else 'not ok'} - {case}: {done.get(case, 0)} calls fail, one at a time")
        for why in wrong.get(case, [])[:12]:
            print("    " + why)


main()
