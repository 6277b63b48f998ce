"""From start to end: readiness, watchdog, statistics, drain, abort."""

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import threading
import time

import pytest

from daemon import (ANSWER, WAIT, RiposteTest, await_true, needs_systemd, receive_all,
                    receive_exactly)

pytestmark = pytest.mark.backends

#: No timeout may interrupt the test, however slow it is.
PATIENT = "drain_timeout = '10m'\n[limits]\nwrite_stall_timeout = '10m'\nlinger_timeout = '10m'\n"


class Drain(RiposteTest):
    def await_received(self, daemon, size):
        """Waits until the daemon has read `size` bytes."""
        def received():
            count = len(daemon.lines("statistics: ")) + 1
            daemon.signal(signal.SIGUSR1)
            return int(daemon.wait_log(r"statistics: .*bytes (\d+) received", count)[1]) == size
        await_true(received, f"{size} bytes are received")

    def test_sigterm_without_connections_ends_it_with_status_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon, _ = self.serve()
            daemon.signal(number)
            self.assertEqual(daemon.wait(), 0)
            self.assertRegex(daemon.log(), r"(?m)^riposted: stopped$")

    def test_an_echo_client_gets_all_pending_bytes_and_then_the_end(self):
        daemon, address = self.serve("echo", config=PATIENT)
        client = self.connect(address, timeout=WAIT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        data = self.random.randbytes(200_000)
        client.sendall(data)
        self.await_received(daemon, len(data))  # and most of it is still pending
        daemon.signal(signal.SIGTERM)
        daemon.wait_log(r"draining: 1 connection")
        await_true(daemon.sleeps, "it has done what it can without the client reading")
        received = receive_all(client)
        self.assertTrue(received == data, f"{len(received)} of {len(data)} bytes came back")
        client.close()
        self.assertEqual(daemon.wait(), 0)

    def test_waiting_clients_of_hello_are_finished(self):
        daemon, address = self.serve("hello", config=PATIENT)
        before = daemon.fds()
        clients = [self.connect(address) for _ in range(10)]
        # The kernel delays accepting silent ones for a second, and would reset them.
        await_true(lambda: daemon.fds() == before + 10, "they are accepted")
        talker = self.connect(address)
        talker.send(b"x")
        self.assertEqual(receive_all(talker), ANSWER)
        daemon.signal(signal.SIGTERM)
        for client in clients:
            self.assertIn(receive_all(client), (b"", ANSWER))
            client.close()
        talker.close()
        self.assertEqual(daemon.wait(), 0)

    def test_no_new_connection_is_accepted_while_it_drains(self):
        daemon, address = self.serve("echo", config=PATIENT)
        client = self.connect(address)
        client.send(b"a")
        receive_exactly(client, 1)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(receive_all(client), b"")  # by now its worker drains
        other = self.keep(socket.socket())
        other.settimeout(WAIT)
        with contextlib.suppress(ConnectionError):  # whether or not the connection waits in the kernel's queue
            other.connect(address)
            other.send(b"x")
        await_true(daemon.sleeps, "it has nothing more to do")
        client.close()
        self.assertEqual(daemon.wait(), 0)
        with contextlib.suppress(ConnectionError):
            self.assertEqual(receive_all(other), b"")

    def test_the_drain_timeout_bounds_it(self):
        daemon, address = self.serve("chargen", config="drain_timeout = '500ms'\n")
        client = self.connect(address, receive_buffer=4096)  # has a reply pending and never reads
        client.recv(100)
        await_true(lambda: daemon.waits_for_reader(client), "a reply is pending")
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)

    def test_a_client_that_keeps_its_side_open_does_not_prevent_the_end(self):
        daemon, address = self.serve("echo", config="drain_timeout = '500ms'\n")
        client = self.connect(address)
        client.send(b"a")
        receive_exactly(client, 1)
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        client.close()

    def test_a_second_sigterm_aborts_at_once(self):
        daemon, address = self.serve("chargen", config=PATIENT)
        client = self.connect(address, receive_buffer=4096)
        client.recv(100)
        await_true(lambda: daemon.waits_for_reader(client), "a reply is pending")
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("draining")
        await_true(lambda: daemon.waits_for_reader(client), "it still waits")
        self.assertIsNone(daemon.poll())
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)

    def test_with_two_workers_both_drain(self):
        daemon, address = self.serve("echo", "--workers", "2", config=PATIENT)
        clients = [self.connect(address) for _ in range(40)]
        for client in clients:
            client.sendall(b"y" * 3000)
        self.await_received(daemon, 40 * 3000)
        daemon.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(receive_all(client), b"y" * 3000)
            client.close()
        self.assertEqual(daemon.wait(), 0)

    def test_nothing_is_left_behind_after_much_traffic(self):
        daemon, address = self.serve("echo")
        before = daemon.fds()
        for _ in range(5):
            clients = [self.connect(address) for _ in range(50)]
            for client in clients:
                client.send(b"z" * 100)
            for client in clients:
                self.assertEqual(receive_exactly(client, 100), b"z" * 100)
                client.close()
        await_true(lambda: daemon.fds() <= before, "every descriptor is closed")
        daemon.stop()


class Statistics(RiposteTest):
    def test_sigusr1_writes_one_line_to_the_log(self):
        daemon, address = self.serve("hello")
        for count in (1, 2):
            client = self.connect(address)
            client.send(b"x")
            receive_all(client)
            client.close()
            daemon.signal(signal.SIGUSR1)
            daemon.wait_log(r"^riposted: statistics: .*\d", count=count)
        self.assertEqual(len(daemon.lines("statistics: ")), 2)

    def test_statistics_count_what_happened(self):
        daemon, address = self.serve("hello")
        for _ in range(7):
            client = self.connect(address)
            client.send(b"x")
            receive_all(client)
            client.close()
        daemon.signal(signal.SIGUSR1)
        self.assertRegex(daemon.wait_log(r"^riposted: statistics: (.*)$")[1], r"\b7\b")

    def test_the_counters_of_all_workers_are_summed(self):
        daemon, address = self.serve("hello", "--workers", "2")
        for _ in range(23):
            client = self.connect(address)
            client.send(b"x")
            receive_all(client)
            client.close()
        daemon.signal(signal.SIGUSR1)
        self.assertRegex(daemon.wait_log(r"^riposted: statistics: (.*)$")[1], r"\b23\b")


@needs_systemd
class Notify(RiposteTest):
    def message(self, daemon):
        return dict(line.partition("=")[::2] for line in
                    daemon.notifications.recv(65536).decode().splitlines())

    def await_message(self, daemon, key, value=None):
        """The next message that has `key`; others are skipped."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            message = self.message(daemon)
            if key in message and value in (None, message[key]):
                return message
        raise AssertionError(f"no {key}= within {WAIT:g} s")

    def skip_arrived(self, daemon):
        """Skips the messages that have already arrived."""
        while select.select([daemon.notifications], [], [], 0)[0]:
            self.message(daemon)

    def await_wake_ups(self, daemon, count):
        """Waits until the main thread has slept and woken `count` times, as it does at each tick of the watchdog."""
        goal = self.wake_ups(daemon) + count
        await_true(lambda: self.wake_ups(daemon) >= goal, f"{count} ticks")

    @staticmethod
    def wake_ups(daemon):
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status.read(), re.M)[1])

    def start(self, *arguments, **options):
        return self.daemon("--listen", "echo=tcp://127.0.0.1:0", *arguments, notify=True, **options)

    def test_readiness_and_status_are_reported_once_it_listens(self):
        daemon = self.start()
        message = self.await_message(daemon, "READY", "1")
        self.assertIn("STATUS", message)

    def test_stopping_is_reported_on_sigterm(self):
        daemon = self.start()
        self.await_message(daemon, "READY")
        daemon.signal(signal.SIGTERM)
        self.await_message(daemon, "STOPPING", "1")
        self.assertEqual(daemon.wait(), 0)

    def test_readiness_is_not_reported_if_the_start_fails(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            daemon = self.daemon("--listen", f"echo=tcp://127.0.0.1:{other.getsockname()[1]}",
                                 notify=True, ready=False)
            daemon.fails(71)
        while select.select([daemon.notifications], [], [], 0)[0]:  # it has ended, so no more messages arrive
            self.assertNotIn("READY", self.message(daemon))

    def test_the_beginning_and_the_end_of_a_reload_are_reported(self):
        daemon = self.start(config="log_level = 'info'\n")
        self.await_message(daemon, "READY")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.signal(signal.SIGHUP)
        message = self.await_message(daemon, "RELOADING", "1")
        reload_began = int(message["MONOTONIC_USEC"])
        self.assertLessEqual(before, reload_began)
        self.assertLessEqual(reload_began, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        self.await_message(daemon, "READY", "1")

    def test_a_failed_reload_is_in_the_status_and_the_daemon_is_ready_again(self):
        daemon = self.start(config="log_level = 'info'\n")
        self.await_message(daemon, "READY")
        daemon.write_config("\n\nlog_levl = 'info'\n")
        daemon.signal(signal.SIGHUP)
        self.await_message(daemon, "RELOADING")
        message = self.await_message(daemon, "READY", "1")
        if "riposted.toml:3:1" not in message.get("STATUS", ""):
            message = self.await_message(daemon, "STATUS")
        self.assertIn("riposted.toml:3:1", message["STATUS"])

    def test_the_watchdog_is_notified_while_the_workers_run(self):
        daemon = self.start("--workers", "2", environment={"WATCHDOG_USEC": "400000"})
        self.await_message(daemon, "READY")
        for _ in range(5):
            self.await_message(daemon, "WATCHDOG", "1")

    def test_a_stopped_process_does_not_notify_the_watchdog(self):
        daemon = self.start(environment={"WATCHDOG_USEC": "200000"})
        self.await_message(daemon, "WATCHDOG", "1")
        daemon.signal(signal.SIGSTOP)
        await_true(daemon.is_stopped, "it is stopped")
        self.skip_arrived(daemon)
        self.assertEqual(select.select([daemon.notifications], [], [], 0.5)[0], [])  # seven ticks
        daemon.signal(signal.SIGCONT)
        self.await_message(daemon, "WATCHDOG", "1")

    def test_a_worker_that_hangs_stops_the_watchdog_notifications(self):
        """Stops one thread of the process with ptrace, to stand for a worker that hangs."""
        daemon = self.start(environment={"WATCHDOG_USEC": "200000"})
        self.await_message(daemon, "WATCHDOG", "1")
        workers = [int(task) for task in os.listdir(f"/proc/{daemon.pid}/task")
                   if int(task) != daemon.pid and self.is_worker(daemon, task)]
        if not workers:
            self.skipTest("the worker has no thread of its own")
        with Frozen(self, workers):
            self.await_wake_ups(daemon, 3)  # the last answer may still be reported
            self.skip_arrived(daemon)
            self.await_wake_ups(daemon, 5)
            self.assertEqual(select.select([daemon.notifications], [], [], 0)[0], [])
        self.await_message(daemon, "WATCHDOG", "1")

    @staticmethod
    def is_worker(daemon, task):
        try:
            with open(f"/proc/{daemon.pid}/task/{task}/comm", encoding="ascii") as file:
                return not file.read().startswith(("iou-", "asan", "tsan"))
        except OSError:  # one of the kernel's has ended meanwhile
            return False

    def test_it_runs_without_a_notification_socket(self):
        daemon = self.daemon("--listen", "hello=tcp://127.0.0.1:0",
                             environment={"NOTIFY_SOCKET": "/no/such/socket"})
        daemon.stop()


class Frozen:
    """Stops threads with PTRACE_SEIZE and PTRACE_INTERRUPT, which need no signal."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, test, tasks):
        self.test, self.tasks, self.held = test, tasks, []

    def call(self, request, task):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        libc.ptrace.restype = ctypes.c_long
        if libc.ptrace(request, task, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")

    def __enter__(self):
        for task in self.tasks:
            try:
                self.call(self.SEIZE, task)
            except PermissionError:
                self.test.skipTest("ptrace is not permitted here")
            self.held.append(task)
            self.call(self.INTERRUPT, task)
            os.waitpid(task, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        for task in self.held:
            self.call(self.DETACH, task)


class Load(RiposteTest):
    def test_it_stops_cleanly_in_the_middle_of_traffic(self):
        for workers in ("1", "2"):
            daemon, address = self.serve("echo", "--workers", workers, config="drain_timeout = '1s'\n")
            going = True
            answers = [0] * 8

            def talk(number):
                try:
                    while going:
                        with socket.create_connection(address, timeout=WAIT) as client:
                            for _ in range(20):
                                client.send(b"x" * 100)
                                if not client.recv(1000):
                                    return
                                answers[number] += 1
                except OSError:
                    pass
            threads = [threading.Thread(target=talk, args=(number,)) for number in range(len(answers))]
            for thread in threads:
                thread.start()
            await_true(lambda: min(answers) >= 50, "all clients are served, and have connected more than once")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            going = False
            for thread in threads:
                thread.join()
