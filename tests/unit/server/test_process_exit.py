"""The end of a process while threads run C++ code."""

import subprocess
import sys

SCRIPT = """
import logging, sys, threading
import cv2, numpy as np
from clearcut.server.process_exit import exit_if_threads_run

def blur():
    image = np.zeros((400, 400, 3), np.uint8)
    started.release()
    while True:
        cv2.GaussianBlur(image, (31, 31), 0)


logging.basicConfig(stream=sys.stdout, format="%(message)s")
started = threading.Semaphore(0)
threads = int(sys.argv[1])
for _ in range(threads):
    threading.Thread(target=blur, daemon=True).start()
for _ in range(threads):
    started.acquire()
logging.warning("stopped")
sys.stdout.write("written")
exit_if_threads_run(1)
sys.stdout.write(" and returned")
sys.exit(3)
"""


def run(threads: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(threads)], capture_output=True, text=True, timeout=60, check=False
    )


def test_running_threads_do_not_abort_process() -> None:
    for _ in range(3):
        done = run(threads=8)
        assert (done.returncode, done.stdout, done.stderr) == (1, "stopped\nwritten", "")


def test_process_without_threads_ends_as_usual() -> None:
    done = run(threads=0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "stopped\nwritten and returned", "")
