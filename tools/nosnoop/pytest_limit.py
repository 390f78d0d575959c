"""A pytest plugin: every test has a time-out, and only those are run whose name is asked for."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import signal

import pytest

LIMIT = 60  # seconds, where a test has no mark `limit(seconds)`


def pytest_configure(config):
    """Makes the mark known."""
    config.addinivalue_line("markers", "limit(seconds): the test's time-out")


def pytest_collection_modifyitems(config, items):
    """Leaves out what the environment's NOSNOOP_FILTER is not in."""
    word = os.environ.get("NOSNOOP_FILTER", "")
    config.hook.pytest_deselected(items=[item for item in items if word not in item.nodeid])
    items[:] = [item for item in items if word in item.nodeid]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Runs one test, with its fixtures, under its time-out."""
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else LIMIT

    def ran_out(_number, _frame):
        raise TimeoutError(f"the test ran out of its {seconds} s")

    before = signal.signal(signal.SIGALRM, ran_out)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
