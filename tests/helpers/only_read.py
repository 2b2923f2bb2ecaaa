"""What the kernel counts of memory that is only read."""
import mmap

PROBED = 16 << 20


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def resident_of_read(size):
    """Mostly nothing, one page of zeroes is there for all of it; some kernels have none."""
    m = mmap.mmap(-1, PROBED, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    before = resident()
    for i in range(0, PROBED, 4096):
        m[i]
    return size if resident() - before > PROBED // 2 else 0
