"""Resident memory of this process, its peak since a moment, and a cap on growth."""

import ctypes
import resource

_libc = ctypes.CDLL(None)


def _status(field):
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def resident():
    return _status("VmRSS")


def trim():
    """Give free heap memory back, so that what is resident is what is in use."""
    _libc.malloc_trim(0)


def reset_peak():
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak():
    """Largest resident memory since reset_peak()."""
    return _status("VmHWM")


def allow_growth(limit):
    """Let the address space grow by limit bytes from now on, no further."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + limit, hard))
