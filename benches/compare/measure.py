"""Runs a command and says what it took: `measure.py REPORT COMMAND...`, in a Python of its own that has imported nothing.

The kernel counts what a process held before it became another program. Started from a large Python, every program would
seem to take at least as much memory as that one; started from this one, the floor is some 8 MiB.
"""

import os
import sys
import time


def main(report, command):
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error}\n".encode())
        os._exit(127)
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - started
    with open(report, "w") as file:
        # ru_maxrss is in KiB on Linux, and in bytes on macOS.
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        file.write(f"{wall:.6f} {used.ru_utime:.6f} {used.ru_stime:.6f} {peak}")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]) % 256)
