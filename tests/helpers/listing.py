#!/usr/bin/env python3
"""listing.py FILE FUNCTION: the function's instructions, one a line after its offset, without
what only the linker decides (addresses of data, places in the global offset table)."""
import re
import subprocess
import sys

path, function = sys.argv[1:]
text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True,
                      capture_output=True, text=True).stdout
match = re.search(r"^([0-9a-f]+) <%s>:\n(.*?)(?:\n\n|\Z)" % re.escape(function), text,
                  re.M | re.S)
lines = []
for line in match.group(2).splitlines() if match else []:
    at, insn = line.strip().split(":", 1)
    insn = re.sub(r"0x[0-9a-f]+\(%rip\)", "(%rip)", insn.strip())
    insn = re.sub(r"# [0-9a-f]+ <", "# <", insn)
    insn = re.sub(r"^(j\w+|call)(\s+)[0-9a-f]+ <", r"\1 <", insn)
    insn = re.sub(r"_GLOBAL_OFFSET_TABLE_\+0x[0-9a-f]+", "GOT", insn)
    lines.append((int(at, 16) - int(match.group(1), 16), " ".join(insn.split())))
while lines and re.search(r"\bnop|^xchg +%ax,%ax", lines[-1][1]):
    lines.pop()     # padding up to the next function
for offset, insn in lines:
    print(f"0x{offset:x} {insn}")
