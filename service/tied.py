"""Programs that die with the process that starts them, even when that is killed (Linux).

Python's own way there, `preexec_fn`, isn't safe where threads run. So the program is started by a
line of Python that asks the kernel for it and then becomes the program: same process id, same
streams. Elsewhere than on Linux a killed parent leaves its children behind.

Limit: the kernel watches the *thread* that starts the program. It must live as long as the program
is to.

Source: prctl(2), PR_SET_PDEATHSIG; it is kept across execve(2).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_BECOME = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
if os.getppid() == int(sys.argv[1]):  # else it died before the kernel was asked
    os.execv(sys.argv[2], sys.argv[2:])
"""


def tied(command: Sequence[str]) -> list[str]:
    """Return a command that runs this one, given by its path, and is killed when we die."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-ISc", _BECOME, str(os.getpid()), *command]
