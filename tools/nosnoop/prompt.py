"""What the monitor's prompt leaves in a log."""
# SPDX-License-Identifier: BSD-2-Clause

WIPE = "\r\033[K"


def behind_prompt(line):
    """A line of the log without the prompt that has made way for it."""
    return line.rpartition(WIPE)[2]
