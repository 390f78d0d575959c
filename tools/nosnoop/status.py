"""The exit statuses of tools/run beyond a guest's own values, and how a tool refuses."""
# SPDX-License-Identifier: BSD-2-Clause

LARGEST_VALUE = 99  # larger guest values become this one
BAD_CONFIG = 122    # bad config or guest image
USAGE = 123         # usage, or a missing tool
TIMEOUT = 124
PANIC = 125         # the hypervisor panicked
STOPPED = 126       # a VM was stopped
NO_VERDICT = 127    # the machine ended without a verdict

MEANING = {
    BAD_CONFIG: "bad config or guest image",
    TIMEOUT: "time ran out",
    PANIC: "the hypervisor panicked",
    STOPPED: "a VM was stopped",
    NO_VERDICT: "the machine ended without a verdict",
}


class Refusal(Exception):
    """Something the user must mend first; the message names the problem and the cure."""
