"""Limits of the decoder's process: memory, CPU time and system calls. Linux on x86-64 and ARM64.

After ``confine`` the process can compute and allocate memory. It cannot read or write files, open sockets, start
programs or processes, or make memory executable: the kernel ends it at the first such call (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct

_ARCHITECTURES = {
    "x86_64": (0xC000003E, {
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigreturn": 15, "mremap": 25, "madvise": 28,
        "exit": 60, "futex": 202, "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
    }),
    "aarch64": (0xC00000B7, {
        "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "rt_sigreturn": 139, "mremap": 216, "madvise": 233,
        "exit": 93, "futex": 98, "clock_gettime": 113, "exit_group": 94, "getrandom": 278,
    }),
}  # fmt: skip
"""By machine: (its number in audit.h, permitted system calls)."""
_PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 21, 22, 38, 2  # prctl.h, seccomp.h
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # bpf_common.h
_KILL_PROCESS, _ALLOW = 0x80000000, 0x7FFF0000
_CALL, _ARCHITECTURE, _PROTECTION = 0, 4, 32
"""Offsets in struct seccomp_data: number of the call, architecture, low half of the third argument."""
_PROT_EXEC = 4


def is_supported() -> bool:
    """Return whether this machine and its kernel have the filter of system calls."""
    return platform.machine() in _ARCHITECTURES and ctypes.CDLL(None).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def limit_resources(memory: int, cpu_s: int) -> None:
    """Limit the address space to its present size plus ``memory`` bytes, and the CPU time; forbid files and core dumps.

    Raises:
        OSError: the system refused a limit.
    """
    with open("/proc/self/statm", "rb") as file:
        present = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for kind, value in (
        (resource.RLIMIT_AS, present + memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def confine() -> None:
    """Permit only the system calls of computation and memory from now on.

    Raises:
        OSError: the kernel refused the filter.
    """
    architecture, calls = _ARCHITECTURES[platform.machine()]
    program = _program(architecture, calls)
    library = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    arguments = [ctypes.c_ulong(value) for value in (_FILTER, 0, 0, 0)]
    unused = [ctypes.c_ulong(0) for _ in range(3)]
    description = ctypes.create_string_buffer(described, len(described))
    arguments[1] = ctypes.c_ulong(ctypes.addressof(description))
    if library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *unused) or library.prctl(_PR_SET_SECCOMP, *arguments):
        raise OSError(ctypes.get_errno(), "The kernel refused the filter of system calls")


def _program(architecture: int, calls: dict[str, int]) -> bytes:
    """Return the filter as instructions of classic BPF."""
    checked = [calls["mmap"], calls["mprotect"]]
    others = [number for number in calls.values() if number not in checked]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _CALL),
    ]
    for number in others:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in checked:
        steps += [
            (_EQUAL, 0, 3, number),
            (_LOAD, 0, 0, _PROTECTION),
            (_ANY_BIT, 1, 0, _PROT_EXEC),
            (_RETURN, 0, 0, _ALLOW),
        ]
    steps.append((_RETURN, 0, 0, _KILL_PROCESS))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
