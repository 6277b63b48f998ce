"""Namespaces of the tests' own."""

import os
import socket
import unittest

from daemon import needs_root
from namespaces import inside, ip_batch, new_namespace, silent_ipv6


@needs_root
class Addresses(unittest.TestCase):
    def test_an_address_can_be_used_once_it_is_added(self):
        namespace = new_namespace()
        self.addCleanup(os.close, namespace)
        with inside(namespace):
            ip_batch("link set lo up", "link add one type veth peer name two", "link set one up", "link set two up")
            silent_ipv6("one", disable=False)
            for number in range(1, 101):
                ip_batch(f"address add fd00::{number:x}/64 dev one nodad")
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
                    own.bind((f"fd00::{number:x}", 0))
                    own.sendto(b"to myself", own.getsockname())
                    self.assertEqual(own.recv(64, socket.MSG_DONTWAIT), b"to myself")
