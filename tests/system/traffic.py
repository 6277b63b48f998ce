"""Clients that work without pause and keep books: run in a machine's network, controlled by lines on standard input.

    traffic.py HELLO_PORT ECHO_PORT PATIENCE

A client that waits longer than PATIENCE seconds gives up, which counts as a loss. That is far longer than any
restart may take.

Three kinds of clients run at once until `stop`:
    hello       300 connections a second: connect, send a message, read to the end, compare
    datagrams   300 a second, each with a number, which must come back once and unchanged
    echo        20 long connections: blocks of bytes whose values encode their position, several of
                which are in flight at any time, must come back in order

Failures are counted in the phase in which they began. The test names the phases:

    phase NAME          clients that begin from now on belong to NAME
    progress            answered once each kind, and each echo connection, has got new replies
    stop                begin nothing new, wait for pending replies, print the books as JSON

The rates are kept as far as a busy machine allows: clients that could not begin in time, or while IN_FLIGHT_MAX
others wait, are not made up for, and the sums say how many began. This program judges nothing.
"""

import asyncio
import collections
import errno
import itertools
import json
import socket
import struct
import sys
import time

RATE = 300
ECHO_CONNECTIONS = 20
IN_FLIGHT_MAX = 3000
GREETING = b"Hello, i'm client!"
ANSWER = b"Hello, i'm server!"
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
DATAGRAM = struct.Struct("!8sQ")
MAGIC = b"riposte!"

#: A repeated four-byte counter, so that a missing, doubled or moved block is always detected.
PATTERN = b"".join(struct.pack("!I", number) for number in range(1 << 16))
ECHO_BLOCK = 700  # does not divide the sizes of buffers
ECHO_AHEAD = 8 * ECHO_BLOCK


def pattern_at(position, size):
    start = position % len(PATTERN)
    return (PATTERN + PATTERN[:size])[start:start + size]


def kind_of(error):
    if isinstance(error, TimeoutError):
        return "stalled"
    return {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset"}.get(
        error.errno, errno.errorcode.get(error.errno, str(error)))


class Books:
    def __init__(self):
        self.phase = "start"
        self.counts = collections.defaultdict(collections.Counter)
        self.longest = collections.Counter()  # seconds, of each kind, by phase

    def add(self, phase, what):
        self.counts[phase][what] += 1

    def took(self, phase, kind, seconds):
        key = (phase, kind)
        self.longest[key] = max(self.longest[key], seconds)

    def as_json(self):
        phases = {phase: dict(counts) for phase, counts in self.counts.items()}
        for (phase, kind), seconds in self.longest.items():
            phases.setdefault(phase, {})[f"{kind} longest"] = round(seconds, 3)
        return json.dumps(phases)


class Traffic:
    def __init__(self, hello_port, echo_port, patience):
        self.hello_port, self.echo_port, self.patience = hello_port, echo_port, patience
        self.books = Books()
        self.ending = False
        self.in_flight = 0
        self.waiting = {}  # datagrams: number -> (phase, when)
        self.answered = collections.Counter()  # for progress()

    # Connections that say hello

    async def hello(self, number):
        phase, started = self.books.phase, time.monotonic()
        self.in_flight += 1
        loop = asyncio.get_running_loop()
        try:
            with socket.socket() as client:
                client.setblocking(False)
                # Many addresses, so that a port is not soon reused towards the same one.
                client.bind((f"127.0.1.{number % 200 + 1}", 0))
                async with asyncio.timeout(self.patience):
                    await loop.sock_connect(client, ("127.0.0.1", self.hello_port))
                    await loop.sock_sendall(client, GREETING)
                    answer = b""
                    while part := await loop.sock_recv(client, 4096):
                        answer += part
            self.books.add(phase, "hello answered" if answer == ANSWER else
                           "hello wrong" if answer else "hello unanswered")
            self.answered["hello"] += answer == ANSWER
        except OSError as error:  # TimeoutError is one
            self.books.add(phase, "hello " + kind_of(error))
        self.books.took(phase, "hello", time.monotonic() - started)
        self.in_flight -= 1

    async def paced(self, kind, begin):
        """begin(number), RATE times a second."""
        due = time.monotonic()
        for number in itertools.count():
            if self.ending:
                return
            due += 1 / RATE
            late = time.monotonic() - due
            if late > 1:
                self.books.counts[self.books.phase][kind + " not begun"] += int(late * RATE)
                due += late
            elif late < 0:
                await asyncio.sleep(-late)
            begin(number)

    async def hellos(self):
        tasks = set()

        def begin(number):
            if self.in_flight >= IN_FLIGHT_MAX:
                self.books.add(self.books.phase, "hello not begun")
                return
            task = asyncio.create_task(self.hello(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await self.paced("hello", begin)
        await asyncio.gather(*tasks)

    # Datagrams

    async def datagrams(self):
        loop = asyncio.get_running_loop()
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        client.setblocking(False)
        client.connect(("127.0.0.1", self.hello_port))

        def begin(number):
            phase = self.books.phase
            try:
                client.send(DATAGRAM.pack(MAGIC, number))
                self.waiting[number] = (phase, time.monotonic())
            except OSError as error:
                self.books.add(phase, "datagram " + kind_of(error))

        def receive():
            try:
                data = client.recv(4096)
            except BlockingIOError:
                return
            except OSError as error:
                self.books.add(self.books.phase, "datagram " + kind_of(error))
                return
            magic, number = DATAGRAM.unpack(data) if len(data) == DATAGRAM.size else (b"", None)
            if magic != MAGIC or number not in self.waiting:
                self.books.add(self.books.phase, "datagram wrong")
                return
            phase, sent = self.waiting.pop(number)
            self.books.add(phase, "datagram answered")
            self.books.took(phase, "datagram", time.monotonic() - sent)
            self.answered["datagram"] += 1
        loop.add_reader(client, receive)
        await self.paced("datagram", begin)
        # Lost datagrams never arrive; late ones arrive among newer ones.
        before, quiet = len(self.waiting), 0
        while self.waiting and quiet < 100:
            await asyncio.sleep(0.1)
            quiet = quiet + 1 if len(self.waiting) == before else 0
            before = len(self.waiting)
        for phase, _ in self.waiting.values():
            self.books.add(phase, "datagram lost")
        loop.remove_reader(client)
        client.close()

    # Conversations

    async def conversation(self, name):
        """One connection after the other, each until it breaks or the traffic ends."""
        while not self.ending:
            phase = self.books.phase
            try:
                async with asyncio.timeout(self.patience):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.echo_port)
            except OSError as error:
                self.books.add(phase, "echo " + kind_of(error))
                await asyncio.sleep(0.05)
                continue
            self.books.add(phase, "echo connected")
            try:
                await self.converse(name, reader, writer)
            except OSError as error:
                self.books.add(self.books.phase, "echo " + kind_of(error))
            writer.transport.abort()

    async def converse(self, name, reader, writer):
        sent = received = 0
        while True:
            while sent - received < ECHO_AHEAD and not self.ending:
                writer.write(pattern_at(sent, ECHO_BLOCK))
                sent += ECHO_BLOCK
            if self.ending and received == sent:
                self.books.add(self.books.phase, "echo whole")
                return
            started = time.monotonic()
            async with asyncio.timeout(self.patience):
                data = await reader.read(1 << 16)
            self.books.took(self.books.phase, "echo", time.monotonic() - started)
            if not data:
                self.books.add(self.books.phase, "echo finished")
                return
            if data != pattern_at(received, len(data)):
                self.books.add(self.books.phase, "echo wrong")
                return
            received += len(data)
            self.books.counts[self.books.phase]["echo bytes"] += len(data)
            self.answered[name] += 1
            await asyncio.sleep(0.02)

    # Orders

    async def progress(self):
        before = self.answered.copy()
        names = ["hello", "datagram"] + [f"echo {index}" for index in range(ECHO_CONNECTIONS)]
        while any(self.answered[name] < before[name] + 3 for name in names):
            await asyncio.sleep(0.02)

    async def orders(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split(maxsplit=1):
            if line[0] == "stop":
                break
            if line[0] == "phase":
                self.books.phase = line[1].strip()
            elif line[0] == "progress":
                await self.progress()
            print("done", flush=True)
        self.ending = True

    async def run(self):
        conversations = (self.conversation(f"echo {index}") for index in range(ECHO_CONNECTIONS))
        await asyncio.gather(self.orders(), self.hellos(), self.datagrams(), *conversations)
        print(self.books.as_json(), flush=True)


if __name__ == "__main__":
    asyncio.run(Traffic(*map(int, sys.argv[1:3]), float(sys.argv[3])).run())
