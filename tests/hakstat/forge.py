"""forge.py FOLDER ABI: ELF files that lie about what is in them, each one lie; prints their names."""
import os, struct, sys

folder = sys.argv[1]


def note(owner, kind, desc, namesz=None, descsz=None):
    pad = lambda b: b + b"\0" * (-len(b) % 4)
    name = owner + b"\0"
    return struct.pack("<III", len(name) if namesz is None else namesz, len(desc) if descsz is None else descsz, kind) + pad(name) + pad(desc)


def probe(name, pc=0x1000):
    return note(b"stapsdt", 3, struct.pack("<QQQ", pc, 0, 0) + b"hakmem\0" + name + b"\0" + b"8@%rdi" * 3 + b"\0")


def elf(name, sections, phdrs=1, shnum=None, shstrndx=None, shoff=None, size=None):
    """sections: name, type, data, size if not that of the data, link, size of an entry"""
    sections = sections + [(".shstrtab", 3, b"", None, 0, 0)]
    names = b"\0" + b"".join(s[0].encode() + b"\0" for s in sections)
    at, body, headers = 64 + 56 * phdrs, b"", [bytes(64)]
    for s in sections:
        data = names if s[1] == 3 else s[2]
        headers.append(struct.pack("<IIQQQQIIQQ", names.index(b"\0" + s[0].encode() + b"\0") + 1, s[1], 0, 0x10000, at + len(body), len(data) if s[3] is None else s[3], s[4], 0, 4, s[5]))
        body += data
    where = at + len(body) if shoff is None else shoff
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, where, 0, 64, 56, phdrs, 64, len(headers) if shnum is None else shnum, len(headers) - 1 if shstrndx is None else shstrndx)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, 0, 0, 4096) * phdrs
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(head + load + body + b"".join(headers))
        if (size or 8192) > f.tell():
            f.truncate(size or 8192)
    print(path)


NOTE, SYMTAB = 7, 2
root = note(b"hakmem", 1, struct.pack("<QII", 0xffffffffffffff00, int(sys.argv[2]), 0))
elf("plain", [(".note.x", NOTE, root + probe(b"refill"), None, 0, 0)])
# 400,000 probes that lie nowhere, each to be looked for in 60,000 segments.
elf("probes", [(".note.stapsdt", NOTE, root + probe(b"refill", 1 << 60) * 400000, None, 0, 0)], phdrs=60000)
for field in "namesz", "descsz":
    for value in 0, 1, 0xffffffff, 0x7fffffff, 0xfffffffc:
        elf("%s-%x" % (field, value), [(".note.x", NOTE, note(b"stapsdt", 3, b"x" * 24, **{field: value}) + root, None, 0, 0)])
elf("no-end", [(".note.x", NOTE, note(b"stapsdt", 3, b"x" * 64) + root, None, 0, 0)])
elf("nothing", [(".note.x", NOTE, note(b"stapsdt", 3, b"\0" * 24) + note(b"stapsdt", 3, b"") + root, None, 0, 0)])
elf("build-id", [(".note.x", NOTE, note(b"GNU", 3, b"\x1b" * 60000) + root, None, 0, 0)])
elf("huge-note", [(".note.x", NOTE, b"", 1 << 60, 0, 0)])
elf("outside", [(".note.x", NOTE, root, None, 0, 0)], shoff=1 << 62)
elf("no-names", [(".note.x", NOTE, root, None, 0, 0)], shstrndx=60000)
elf("many-sections", [(".note.x", NOTE, root, None, 0, 0)], shnum=65000)
# Symbols of one byte each, of a sparse file, with names in a section that is none.
elf("symbols", [(".symtab", SYMTAB, b"", 200 << 20, 60000, 1)], size=300 << 20)
elf("symbols-self", [(".symtab", SYMTAB, b"", 200 << 20, 1, 24)], size=300 << 20)
# The same 200 MiB in each of a thousand sections.
elf("overlap", [(".symtab", SYMTAB, b"", 200 << 20, 1, 24)] * 1000, size=300 << 20)
