"""Landlock: the kernel takes away this process's own access to files and the network.

Calls and constants: Linux `include/uapi/linux/landlock.h`; kernel.org, userspace-api/landlock.
"""

import ctypes
import os
from collections.abc import Sequence

# The numbers are the same on every architecture of Linux (they are past the unified 424).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Highest access bit of each ABI version: the kernel refuses bits that it does not know.
_FILE_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
_TCP_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str:
    """Why the kernel does not offer Landlock; "" where it does."""
    return "" if _version() >= 1 else f"Landlock: {os.strerror(ctypes.get_errno())}"


def _version() -> int:
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))


def no_new_privileges() -> None:
    """No later exec gives this process more rights. Raises `OSError`."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def restrict(readable: Sequence[str]) -> bool:
    """From here on only `readable` (files, or folders with all below) can be opened, and only to
    read; no TCP where the kernel is new enough (ABI 4).

    Whether it holds: False where the kernel does not offer it. Needs `no_new_privileges` first.
    Raises `OSError` where the kernel offers it but refuses.
    """
    abi = _version()
    if abi < 1:
        return False
    rules = _Ruleset(
        handled_access_fs=(1 << _FILE_BITS.get(abi, _FILE_BITS[6])) - 1,
        handled_access_net=_TCP_BIND_AND_CONNECT if abi >= 4 else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(
        _libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    )
    try:
        for path in readable:
            if os.path.exists(path):
                _allow_reading(ruleset, path)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow_reading(ruleset: int, path: str) -> None:
    access = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(allowed_access=access, parent_fd=opened)
        _checked(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(opened)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
