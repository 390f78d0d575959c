"""The guest policymap under each policy, against what each system's sources say it comes to."""
# SPDX-License-Identifier: BSD-2-Clause
import xml.etree.ElementTree as ElementTree

import pytest

from nosnoop import policies

# The places of guest-tests/policymap.c: the guest's MTRR type and its PAT type, fixed ranges last
# but for the five that differ by their PAT alone.
PLACES = [("WB", "WB"), ("UC", "WB"), ("UC", "WC"), ("WC", "WB"), ("WT", "WB"), ("WP", "WB"),
          ("UC", "WB"), ("WP", "WB"), ("WB", "WC"), ("WB", "WT"), ("WB", "UC-"), ("WB", "UC")]

WB, UC, CD = (" ".join([kind] * len(PLACES)) for kind in ("WB", "UC", "CD"))

# Intel. Bare metal with E = 1 and with E = 0 (SDM); the PAT over WB leaves; the MTRRs without PAT.
REAL = "WB UC WC WC WT WP UC WP WC WT UC UC"
NO_E = "UC UC WC UC UC UC UC UC WC UC UC UC"
PAT = "WB WB WC WB WB WB WB WB WC WT UC UC"
MTRR = "WB UC UC WC WT WP UC WP WB WB WB WB"
# Name: with E = 1, with E = 0, with CD = 1; with and, behind a comma, without coherent DMA.
INTEL = {
    "bare metal": (REAL, NO_E, UC),
    "exact": (REAL, NO_E, UC),
    "wb": (WB, WB, WB),
    # Fixed ranges count with FE, and without E the default type does: its get_mtrr_type().
    "kvm-2008": (MTRR, "WB WB WB WB WB WB UC WP WB WB WB WB", MTRR),
    "kvm-4.19": (WB, WB, WB),
    "kvm-4.19, non-coherent": (REAL, NO_E, WB),
    "kvm-6.7": (WB, WB, WB),
    "kvm-6.7, non-coherent": (REAL, NO_E, PAT),
    "kvm-6.11": (WB, WB, WB),
    "kvm-6.11, non-coherent": (PAT, PAT, PAT),
    "kvm-6.16": (WB, WB, WB),
    "kvm-6.16, non-coherent": (PAT, PAT, PAT),
    "xen": (WB, WB, WB),
    "xen, non-coherent": (REAL, NO_E, UC),
    "bhyve": (WB, WB, WB),
    # Fixed ranges alone; without E the default type in their place.
    "acrn": ("WB WB WC WB WB WB UC WP WC WT UC UC", PAT, UC),
    "jailhouse": (PAT, UC, PAT),
    "bitvisor": (REAL, NO_E, REAL),
}

# AMD, with a host that has all memory WB (APM, "Nested Paging: Combining Memory Types, MTRRs").
REAL_AMD = "WB UC WC WC WT WP UC WP WC WT CD CD"
NESTED = "WB CD WC WC WT WP CD WP WC+ WT CD CD"
NESTED_NO_E = "CD CD WC CD CD CD CD CD WC CD CD CD"
PAT_AMD = "WB WB WC+ WB WB WB WB WB WC+ WT CD CD"
AMD = {
    "bare metal": (REAL_AMD, NO_E, CD),
    "exact": (NESTED, NESTED_NO_E, CD),
    "wb": (PAT_AMD, PAT_AMD, PAT_AMD),
    "kvm-svm": (PAT_AMD, PAT_AMD, PAT_AMD),
    "kvm-svm-2015": (WB, WB, CD),
    # No slot of its host's PAT was WP.
    "kvm-svm-2015, non-coherent": ("WB CD WC WC WT CD CD CD WC+ WT CD CD", NESTED_NO_E, CD),
    "xen": (PAT_AMD, PAT_AMD, PAT_AMD),
    "bhyve": (PAT_AMD, PAT_AMD, PAT_AMD),
    "jailhouse": (PAT_AMD, CD, CD),
    "bitvisor": (NESTED, NESTED_NO_E, NESTED),
}
WANT = {"vmx": INTEL, "svm": AMD}
REFUSED = {"vmx": {"kvm-svm", "kvm-svm-2015"},
           "svm": {"kvm-2008", "kvm-4.19", "kvm-6.7", "kvm-6.11", "kvm-6.16", "acrn"}}


@pytest.fixture(scope="module", name="scenario", params=WANT)
def run_guest(request):
    """The scenario of a run on a bed."""
    return policies.run_guest(request.param)


def test_the_places(scenario):
    assert [(scenario.mtrr(place), place.pat) for place in scenario.places] == PLACES


def test_bare_metal_and_every_policy(scenario):
    want = WANT[scenario.bed]
    bare = {state: scenario.bare(state) for state in policies.STATES}
    found = {"bare metal": bare, **dict(scenario.rows())}
    shown = {name: tuple(" ".join(types[state]) for state in policies.STATES)
             for name, types in found.items()}
    assert shown == want


def test_policies_without_rules_are_refused(scenario):
    assert set(scenario.refused) == REFUSED[scenario.bed]


def test_exact_differs_in_snooping_alone(scenario):
    (types,) = [types for name, types in scenario.rows() if name == "exact"]
    found = {policies.relation(kind, bare) for state in policies.STATES
             for kind, bare in zip(types[state], scenario.bare(state), strict=True)}
    assert found <= {policies.SAME, policies.CLASSMATE}
    assert (policies.CLASSMATE in found) == (scenario.bed == "svm")


def test_the_picture_has_each_answer(scenario):
    svg = policies.picture([scenario])
    shown = {}
    for node in ElementTree.fromstring(svg.encode()).iter():
        if "data-row" in node.attrib:
            at = node.get("data-row"), node.get("data-state")
            shown.setdefault(at, []).append(node.get("data-type"))
    want = {(name, policies.state_name(state)): types.split()
            for name, lines in WANT[scenario.bed].items()
            for state, types in zip(policies.STATES, lines, strict=True)}
    assert shown == want
