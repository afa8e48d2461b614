import subprocess
import sys

import pytest

from clearcut.system import memory_limit

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
kept = process.memory_info().rss
again = [numpy.ones(30_000_000, numpy.uint8) for _ in range(4)]
new_faults = __import__("resource").getrusage(0).ru_minflt - faults
again = None
release_free_memory()
after = process.memory_info().rss
print(kept - before, new_faults, after - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_buffers_are_used_again_and_given_back_when_asked():
    done = subprocess.run([sys.executable, "-c", BUFFERS], capture_output=True, text=True, check=True)
    kept, new_faults, after = (int(word) for word in done.stdout.split())
    assert kept > 100_000_000
    assert new_faults < 1000  # 120 MB anew would be some 29,000 pages
    assert after < 20_000_000


@pytest.mark.parametrize(("text", "limited"), [("268435456\n", True), ("max\n", False)])
def test_the_control_groups_limit_counts_where_it_is_lower(tmp_path, text, limited):
    (tmp_path / "memory.max").write_text(text)
    assert (memory_limit(tmp_path) == 268435456) == limited


def test_without_a_control_group_the_machines_memory_counts(tmp_path):
    assert memory_limit(tmp_path) > 1 << 28
