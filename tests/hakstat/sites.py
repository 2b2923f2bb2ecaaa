#!/usr/bin/env python3
"""sites.py PID FILE: how many probe sites of FILE, as PID has it mapped, hold a breakpoint, and
how many there are, those apart that have a semaphore: who counts stays away from them. FILE may be
gone by now: give any copy as third argument."""
import re
import subprocess
import sys

pid, path, readable = sys.argv[1], sys.argv[2], sys.argv[-1]
notes = subprocess.run(["readelf", "-n", readable], capture_output=True, text=True).stdout
names = re.findall(r"Provider: (hakmem|otel_memory)\n.*\n\s+Location: 0x([0-9a-f]+).*Semaphore: 0x0+\n", notes)
sites = [int(address, 16) for _, address in names]
base = None
for line in open(f"/proc/{pid}/maps"):
    fields = line.split(None, 5)
    if len(fields) == 6 and fields[5].strip().replace(" (deleted)", "") == path and base is None:
        base = int(fields[0].split("-")[0], 16) - int(fields[2], 16)
header = subprocess.run(["readelf", "-h", readable], capture_output=True, text=True).stdout
if "EXEC" in header:
    base = 0
attached = 0
with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
    for site in sites:
        memory.seek(base + site)
        attached += memory.read(1) == b"\xcc"
print(attached, len(sites))
