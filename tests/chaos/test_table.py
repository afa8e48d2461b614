from __future__ import annotations

import re
from pathlib import Path

from tests.support.fault_table import FAULTS


def test_fault_table_lists_every_chaos_test():
    folder = Path(__file__).parent
    tests = {
        f"{path.name}::{name}"
        for path in folder.glob("test_*.py")
        if path.name != Path(__file__).name
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert {fault.test for fault in FAULTS} == tests
