"""Which tests of tests/kernels run in which guest.

What riposted says of its kernel is tested in each. The networks that this machine's kernel lacks (netem, VRF) cost
minutes of CPU time in a guest: `./dev kernels` tests all of them in every kernel, `./dev test` a few in the newest
one, whose system calls are the cheapest.
"""

import pathlib

from tools.dev import kernels

DIRECTORY = pathlib.Path("tests/kernels")
EVERYWHERE = ["test_expectations.py"]
NETWORKS = ["test_netem.py", "test_netem_load.py", "test_paths.py"]
NETWORKS_SHORT = ["test_netem.py::Ping::test_everything_in_both_directions",
                  "test_netem_load.py::Repairs::test_load_counts_what_the_kernel_repeats",
                  "test_paths.py::SecondLink::test_policy_routing_by_source",
                  "test_paths.py::PathMtu::test_an_mtu_that_falls_under_a_run",
                  "test_paths.py::Vrf::test_a_client_in_a_vrf"]


def tests(row, long):
    """The tests for a kernel, as pytest takes them."""
    networks = NETWORKS if long else NETWORKS_SHORT if row.series == newest() else []
    return [f"{DIRECTORY}/{name}" for name in [*EVERYWHERE, *networks]]


def newest():
    return kernels.of_every_run()[-1].series
