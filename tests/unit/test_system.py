import subprocess
import sys

import pytest

from clearcut.system import memory_limit, peak_memory, release_free_memory

BUFFERS = """
import numpy, psutil
from clearcut.system import release_free_memory, keep_freed_memory
assert keep_freed_memory()
process = psutil.Process()
before = process.memory_info().rss
for _ in range(5):
    buffers = [numpy.ones(30_000_000, numpy.uint8) for _ in range(4)]
faults = process.memory_full_info() and __import__("resource").getrusage(0).ru_minflt
buffers = None
retained = process.memory_info().rss
again = [numpy.ones(30_000_000, numpy.uint8) for _ in range(4)]
new_faults = __import__("resource").getrusage(0).ru_minflt - faults
again = None
release_free_memory()
after = process.memory_info().rss
print(retained - before, new_faults, after - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_reused_and_released():
    done = subprocess.run([sys.executable, "-c", BUFFERS], capture_output=True, text=True, check=True)
    retained, new_faults, after = (int(word) for word in done.stdout.split())
    assert retained > 100_000_000
    assert new_faults < 1000  # 120 MB of new memory would be 29,000 pages
    assert after < 20_000_000


@pytest.mark.parametrize(("text", "limited"), [("268435456\n", True), ("max\n", False)])
def test_lower_limit_of_control_group(tmp_path, text, limited):
    (tmp_path / "memory.max").write_text(text)
    assert (memory_limit(tmp_path) == 268435456) == limited


def test_memory_of_machine_without_control_group(tmp_path):
    assert memory_limit(tmp_path) > 1 << 28


def test_peak_memory_includes_what_was_freed():
    release_free_memory()  # memory that an earlier test freed does not grow again
    with peak_memory() as growth:
        block = bytearray(200 << 20)
        block[::4096] = b"x" * len(block[::4096])
        del block
    assert growth[0] > 150 << 20


def test_peak_memory_without_proc_is_the_growth(tmp_path):
    with peak_memory(tmp_path / "missing") as growth:
        pass
    assert growth[0] < 100 << 20
