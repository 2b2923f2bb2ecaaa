#!/usr/bin/env python3
"""semaphores.py PID FILE: the probes' semaphores of FILE as PID has it mapped, name=count for each
that is not 0."""
import re
import subprocess
import sys

pid, path = sys.argv[1], sys.argv[2]
notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True).stdout
probes = re.findall(r"Provider: (\S+)\n\s+Name: (\S+)\n\s+Location: \S+ Base: \S+ Semaphore: 0x([0-9a-f]+)", notes)
base = None
for line in open(f"/proc/{pid}/maps"):
    fields = line.split(None, 5)
    if len(fields) == 6 and fields[5].strip().replace(" (deleted)", "") == path and base is None:
        base = int(fields[0].split("-")[0], 16) - int(fields[2], 16)
with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
    for provider, name, at in probes:
        if int(at, 16):
            memory.seek(base + int(at, 16))
            count = int.from_bytes(memory.read(2), "little")
            if count:
                print(f"{provider}:{name}={count}")
