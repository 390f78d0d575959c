"""Makes tools/ importable, and gives the tests the built hypervisor and guests."""
# SPDX-License-Identifier: BSD-2-Clause
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from machine import System  # noqa: E402


@pytest.fixture(scope="session")
def system():
    """tools/run on what has been built."""
    return System()
