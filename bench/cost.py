#!/usr/bin/env python3
"""What watching costs: redis-benchmark against redis-server, larson with 8 threads, and a loop of
nothing but malloc and free in one thread, alone and under each watcher in turn. Medians of
ratios to the run alone of the same round with their 95 % interval, in Markdown; every run goes to build/bench/cost.csv.

redis and larson are one process all along, watched and left alone by turns: two processes differ by
more than what watching costs.

usage: bench/cost.py [redis] [larson] [loop]
Environment: BUILD=build, ROUNDS=11 (of strace and memleak: SLOW_ROUNDS=3), REQUESTS=60000, SECONDS=2,
ONLY="top stacks" (watchers), TRAP_US=0.5 (of a breakpoint, without what BPF does at it).

Rates: operations a second, as the program tells. CPU: processor time an operation, of the program
watched alone: breakpoints and BPF programs count there, other processes on the machine do not.
"""
import json, math, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time

BUILD = os.environ.get("BUILD", "build")
LIB = os.path.realpath(BUILD + "/libhakmem.so")
HAKSTAT = BUILD + "/hakstat"
ROUNDS = int(os.environ.get("ROUNDS", "11"))
SLOW_ROUNDS = int(os.environ.get("SLOW_ROUNDS", "3"))
REQUESTS = int(os.environ.get("REQUESTS", "60000"))
SECONDS = int(os.environ.get("SECONDS", "2"))
TRAP_US = float(os.environ.get("TRAP_US", "0.5"))
PAUSE_S = 1.5
tmp = tempfile.mkdtemp(prefix="hakmem-cost.")
running = []

MEMLEAK = """
BEGIN { printf("ready\\n"); }
uprobe:%(lib)s:malloc { @size[tid] = arg0; }
uretprobe:%(lib)s:malloc /@size[tid]/ {
    @bytes[retval] = @size[tid]; @stack[retval] = ustack(8); delete(@size[tid]);
}
uprobe:%(lib)s:free /@bytes[arg0]/ { delete(@bytes[arg0]); delete(@stack[arg0]); }
END { clear(@size); clear(@bytes); clear(@stack); }
"""


def command_of(watcher, pid):
    p = str(pid)
    if watcher == "memleak":
        return ["bpftrace", "-p", p, "-e", MEMLEAK % {"lib": LIB}]
    return {
        "top": [HAKSTAT, "top", "-b", "-d", "1", "-p", p],
        "stacks": [HAKSTAT, "stacks", "--on", "refill", "--json", "-p", p, "-d", "1000"],
        "syscalls": [HAKSTAT, "syscalls", "--json", "-p", p, "-d", "1000"],
        "heap": [HAKSTAT, "heap", "--json", "-p", p, "-d", "1000"],
        "strace": ["strace", "-c", "-f", "-o", tmp + "/strace", "-p", p],
    }[watcher]


def watchers():
    names = ["top", "stacks", "syscalls", "heap", "strace", "memleak"]
    if not re.search(r"^  heap ", subprocess.run([HAKSTAT, "--help"], capture_output=True, text=True).stdout, re.M):
        names.remove("heap")
    names = [n for n in names if n not in ("strace",) or shutil.which("strace")]
    names = [n for n in names if n != "memleak" or shutil.which("bpftrace")]
    only = os.environ.get("ONLY")
    return [n for n in names if not only or n in only.split()]


class Watch:
    """A watcher on a process, attached once this is made; events and BPF time once it has ended."""

    def __init__(self, name, pid):
        self.name, self.events, self.bpf, self.own = name, None, None, None
        begun = time.time()
        if name == "alone":
            time.sleep(PAUSE_S)
            return
        self.out = tempfile.TemporaryFile(mode="w+", dir=tmp)
        self.p = subprocess.Popen(command_of(name, pid), stdout=self.out, stderr=subprocess.STDOUT)
        running.append(self.p)
        end = time.time() + 30
        while time.time() < end and not self.ready(pid) and self.p.poll() is None:
            time.sleep(0.05)
        # as long as without one: what is watched is no warmer then
        time.sleep(max(0, PAUSE_S - (time.time() - begun)))
        self.since, self.before = time.time(), cpu_of(self.p.pid) if self.p.poll() is None else 0
        if self.p.poll() is not None:
            self.out.seek(0)
            sys.exit("cost: %s ended: %s" % (name, self.out.read()[:300]))

    def ready(self, pid):
        if self.name == "strace":
            return "TracerPid:\t0" not in open("/proc/%d/status" % pid).read()
        if self.name == "memleak":
            self.out.seek(0)
            return "ready" in self.out.read()
        # hakstat: waits in poll(2), for its interval to pass
        return open("/proc/%d/syscall" % self.p.pid).read().split()[0] in ("7", "271", "230", "35")

    def stop(self):
        if self.name == "alone":
            return
        self.own = (cpu_of(self.p.pid) - self.before) / (time.time() - self.since)
        self.p.send_signal(signal.SIGINT)
        try:
            self.p.wait(120)
        except subprocess.TimeoutExpired:
            self.p.kill()
        self.out.seek(0)
        text = self.out.read()
        if self.name == "top":
            lines = re.findall(r"hakstat +([0-9.]+)([kM]?) events/s.*?(?:BPF ([0-9.]+)% of a CPU)?$", text, re.M)
            if lines:
                self.events = statistics.mean(float(n) * {"": 1, "k": 1e3, "M": 1e6}[unit] for n, unit, _ in lines)
                self.bpf = statistics.mean([float(b) for _, _, b in lines if b] or [0]) / 100
        elif self.name in ("stacks", "syscalls", "heap"):
            start = text.find("{")
            if start >= 0:
                r = json.loads(text[start:text.rfind("}") + 1])
                s = r.get("stacks", r.get("heap", r["self"]))
                events = s["sampled"] + s["freed"] if self.name == "heap" else s.get("events") or 0
                self.events = events / r["duration_s"]
                self.bpf = s["bpf_ns"] / 1e9 / r["duration_s"] if s.get("bpf_ns") is not None else None


def cpu_of(pid):
    tasks = "/proc/%d/task/" % pid
    return sum(int(open(tasks + t + "/schedstat").read().split()[0]) for t in os.listdir(tasks)) / 1e9


class Redis:
    slow = 20  # so many times fewer requests under what slows it much

    def __init__(self):
        self.sock = tmp + "/redis.sock"
        self.p = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", self.sock, "--save", "", "--dir", tmp],
                                  env=dict(os.environ, LD_PRELOAD=LIB), stdout=subprocess.DEVNULL)
        running.append(self.p)
        while not os.path.exists(self.sock):
            time.sleep(0.05)
        self.load(REQUESTS)

    def load(self, n):
        out = subprocess.run(["redis-benchmark", "-s", self.sock, "-q", "--csv", "-c", "50", "-d", "200", "-r", "100000",
                              "-n", str(n), "-t", "set,get"], capture_output=True, text=True).stdout
        return [float(line.split('","')[1].strip('"')) for line in out.splitlines() if re.match(r'"(SET|GET)"', line)]

    def run(self, watcher):
        n = REQUESTS // (self.slow if watcher in ("strace", "memleak") else 1)
        w = Watch(watcher, self.p.pid)
        before = cpu_of(self.p.pid)
        rates = self.load(n)
        cpu = cpu_of(self.p.pid) - before
        w.stop()
        return statistics.harmonic_mean(rates), cpu / (2 * n), w


class Larson:
    def __init__(self):
        self.p = subprocess.Popen([BUILD + "/bench/larson", "0", "8", "1000", "5000", "10", "1", "8"],
                                  env=dict(os.environ, LD_PRELOAD=LIB), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(self.p)
        time.sleep(SECONDS)

    def look(self):
        """Allocations so far, processor time of threads that have ended included, and when."""
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        n = int(self.p.stdout.readline())
        return n, time.clock_gettime((~self.p.pid << 3) | 2), time.monotonic()

    def run(self, watcher):
        w = Watch(watcher, self.p.pid)
        before = self.look()
        time.sleep(SECONDS)
        n, cpu, took = (b - a for a, b in zip(before, self.look()))
        w.stop()
        return n / took, cpu / n, w


class Program:
    """One of bench/, which begins once the watcher is there."""

    def __init__(self, name, *args):
        self.command = [BUILD + "/bench/" + name, *args]

    def run(self, watcher):
        p = subprocess.Popen(self.command, env=dict(os.environ, LD_PRELOAD=LIB, BENCH_WAIT="1"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(p)
        while LIB not in open("/proc/%d/maps" % p.pid).read() or open("/proc/%d/syscall" % p.pid).read().split()[0] != "0":
            time.sleep(0.02)
        w = Watch(watcher, p.pid)
        before = cpu_of(p.pid)
        p.stdin.write("\n")
        p.stdin.flush()
        p.stdin = None
        # its processor time is gone with it: what it says of itself is read, and it is waited for
        out = p.stdout.readline()
        used = os.wait4(p.pid, 0)[2]
        p.returncode = 0
        w.stop()
        rate = float(re.search(r"ops_per_s=([0-9.]+)", out).group(1)) if "ops_per_s=" in out else float(out.split()[-1])
        ops = float(re.search(r"ops=([0-9]+)", out).group(1)) if "ops=" in out else rate * SECONDS
        return rate, (used.ru_utime + used.ru_stime - before) / ops, w


def measure(name, program, csv):
    runs = {}
    names = ["alone"] + watchers()
    for i in range(ROUNDS):
        order = names if i % 2 else names[::-1]
        for watcher in order:
            if watcher in ("strace", "memleak") and i >= SLOW_ROUNDS:
                continue
            rate, cpu, w = program.run(watcher)
            runs.setdefault(watcher, {})[i] = (rate, cpu, w.events, w.bpf, w.own)
            csv.write("%s,%d,%s,%.1f,%.4g,%s,%s,%s\n" % (name, i, watcher, rate, cpu, w.events, w.bpf, w.own))
            csv.flush()
    return runs


def spread(values):
    """The median, and between which two of the values it is with 95 % (binomial); of few: all of them."""
    v, n, below, k = sorted(values), len(values), 0.0, 0
    while (below := below + math.comb(n, k) / 2 ** n) <= 0.025:
        k += 1
    k = max(k - 1, 0)
    return "%.3f (%.3f to %.3f)" % (statistics.median(v), v[k], v[-1 - k])


def table(name, runs):
    print("\n| %s | rate/s | rate, to alone | CPU an operation, to alone | events/s | BPF, of a CPU | breakpoints, of a CPU | watcher, of a CPU |" % name)
    print("|---|---|---|---|---|---|---|---|")
    for watcher in ["alone"] + watchers():
        rounds = runs.get(watcher)
        if not rounds:
            continue
        events = [r[2] for r in rounds.values() if r[2] is not None]
        bpf = [r[3] for r in rounds.values() if r[3] is not None]
        e = statistics.median(events) if events else None
        own = [r[4] for r in rounds.values() if r[4] is not None]
        print("| %s | %.0f | %s | %s | %s | %s | %s | %s |" % (
            watcher, statistics.median(r[0] for r in rounds.values()),
            "1" if watcher == "alone" else spread([r[0] / runs["alone"][i][0] for i, r in rounds.items()]),
            "1" if watcher == "alone" else spread([r[1] / runs["alone"][i][1] for i, r in rounds.items()]),
            "-" if e is None else "%.0f" % e,
            "%.2f %%" % (100 * statistics.median(bpf)) if bpf else "-",
            "%.2f %%" % (e * TRAP_US / 1e4) if e is not None and watcher != "syscalls" else "-",
            "%.2f %%" % (100 * statistics.median(own)) if own else "-"), flush=True)


def main():
    which = sys.argv[1:] or ["redis", "larson", "loop"]
    os.makedirs(BUILD + "/bench", exist_ok=True)
    with open(BUILD + "/bench/cost.csv", "w") as csv:
        csv.write("program,round,watcher,rate,cpu_s_per_op,events_per_s,bpf_share,own_share\n")
        for name in which:
            program = {"redis": Redis, "larson": Larson,
                       "loop": lambda: Program("random_mixed", str(SECONDS * 50000000), "400")}[name]()
            table(name, measure(name, program, csv))


try:
    main()
finally:
    for p in running:
        if p.poll() is None:
            p.kill()
            p.wait()
    shutil.rmtree(tmp, ignore_errors=True)
