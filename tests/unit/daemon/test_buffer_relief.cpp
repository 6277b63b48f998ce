#include "daemon/tcp/buffer_relief.h"
#include "tests/unit/daemon/tcp_support.h"

#include <vector>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::test;

namespace {

/// The bytes that the kernel still has for each peer, by descriptor.
class KernelBuffers final : public Host {
public:
    uint64_t now_ns() noexcept override { return 0; }
    int64_t wall_seconds() noexcept override { return 1; }
    uint64_t wall_ns() noexcept override { return 1'000'000'000; }
    SocketAddress peer_address(int) override { return {}; }
    uint32_t unacknowledged_bytes(int fd) noexcept override {
        ++looks;
        return unacknowledged.at(static_cast<size_t>(fd));
    }

    std::vector<uint32_t> unacknowledged = std::vector<uint32_t>(8, 100);
    uint32_t looks = 0;
};

/// Eight open connections, whose descriptors are the numbers of their slots.
struct Shortage {
    Shortage() {
        table.grow(8);
        relief.reserve(8);
        relief.grow(8);
        for (int fd = 0; fd < 8; ++fd)
            table.take(fd, {}, 1);
    }
    void hold(uint32_t slot) {
        set_pending(table[slot], 100);
        table[slot].progress_ms = now_ms;
    }
    uint32_t longest() {
        relief.begin_round(table, now_ms);
        return relief.longest_stalled(table, host, now_ms);
    }
    std::vector<uint32_t> woken() {
        std::vector<uint32_t> slots;
        relief.wake(table, [&](uint32_t slot) { slots.push_back(slot); });
        return slots;
    }
    /// The first one found within `ms`, in successive rounds.
    uint32_t longest_after(uint64_t ms) {
        for (const uint64_t end_ms = now_ms + ms; now_ms < end_ms;) {
            now_ms += BufferRelief::pause_ms;
            if (const uint32_t found = longest(); found != BufferRelief::none)
                return found;
        }
        return BufferRelief::none;
    }

    uint64_t now_ms = 1'000'000;
    KernelBuffers host{};
    ConnectionTable table;
    BufferRelief relief;
};

} // namespace

TEST_CASE_FIXTURE(Shortage, "without a starved connection there is no deadline") {
    CHECK(relief.next_ms() == TimerWheel::never);
    CHECK(!relief.must_reset(now_ms));
    relief.starve(1, table[1], true);
    CHECK(relief.next_ms() <= now_ms);
    CHECK(relief.must_reset(now_ms));
    relief.buffer_released(); // it is woken instead
    CHECK(!relief.must_reset(now_ms));
}

TEST_CASE_FIXTURE(Shortage, "between two rounds of resets there is a pause") {
    relief.starve(1, table[1], true);
    relief.begin_round(table, now_ms);
    CHECK(!relief.must_reset(now_ms));
    CHECK(relief.next_ms() == now_ms + BufferRelief::pause_ms);
    CHECK(relief.must_reset(now_ms + BufferRelief::pause_ms));
}

TEST_CASE_FIXTURE(
    Shortage, "a released buffer wakes all, first those whose peers read everything") {
    relief.starve(0, table[0], false); // reads slowly, or not at all
    relief.starve(1, table[1], true);  // has been sent nothing yet
    table[2].answered = true;
    relief.starve(2, table[2], true);
    CHECK(woken().empty());
    relief.buffer_released();
    CHECK(woken() == std::vector<uint32_t>{2, 1, 0});
    CHECK(!table[0].starved);
    relief.buffer_released();
    CHECK(woken().empty());
}

TEST_CASE_FIXTURE(Shortage, "a connection that starves again while the others are woken waits") {
    relief.starve(0, table[0], true);
    relief.starve(1, table[1], true);
    relief.buffer_released();
    std::vector<uint32_t> slots;
    relief.wake(table, [&](uint32_t slot) {
        slots.push_back(slot);
        relief.starve(slot, table[slot], true);
    });
    CHECK(slots == std::vector<uint32_t>{0, 1});
    CHECK(woken().empty());
    relief.buffer_released();
    CHECK(woken() == std::vector<uint32_t>{0, 1});
}

TEST_CASE_FIXTURE(
    Shortage, "a connection that ended while it starved is neither woken nor counted") {
    relief.starve(0, table[0], true);
    relief.starve(1, table[1], true);
    table[0].leave();
    table[0].begin_close();
    table[0].end_close();
    table.give_back(0);
    relief.begin_round(table, now_ms);
    CHECK(relief.starving() == 1);
    relief.buffer_released();
    CHECK(woken() == std::vector<uint32_t>{1});
}

TEST_CASE_FIXTURE(Shortage, "bytes before a connection starved do not count against its rate") {
    table[0].peer_sends = {.since_ms = 1, .bytes = 1};
    relief.starve(0, table[0], true);
    CHECK(table[0].peer_sends.since_ms == 0);
}

TEST_CASE_FIXTURE(Shortage, "a peer is stalled if two checks, some time apart, find no progress") {
    relief.starve(7, table[7], true);
    hold(3);
    CHECK(longest() == BufferRelief::none); // the first check
    CHECK(longest_after(BufferRelief::stalled_ms) == BufferRelief::none);
    CHECK(longest_after(BufferRelief::pause_ms) == 3);
}

TEST_CASE_FIXTURE(Shortage, "the peer that has read nothing for longest comes first") {
    relief.starve(7, table[7], true);
    hold(3);
    now_ms += 10;
    hold(5);
    now_ms += 10;
    hold(4);
    longest();
    CHECK(longest_after(2 * BufferRelief::stalled_ms) == 3);
    set_pending(table[3], 0);
    now_ms += BufferRelief::pause_ms;
    CHECK(longest() == 5);
}

TEST_CASE_FIXTURE(Shortage, "a peer that reads or waits for us is never stalled") {
    relief.starve(7, table[7], true);
    hold(3);
    hold(4);
    host.unacknowledged[4] = 0;
    for (int i = 0; i < 10; ++i) {
        --host.unacknowledged[3];
        CHECK(
            longest_after(BufferRelief::stalled_ms + BufferRelief::pause_ms) == BufferRelief::none);
    }
}

TEST_CASE_FIXTURE(Shortage, "time in which this process did not check is not counted") {
    relief.starve(7, table[7], true);
    hold(3);
    longest();
    now_ms += 10 * BufferRelief::stalled_ms;
    CHECK(longest() == BufferRelief::none);
    CHECK(longest_after(BufferRelief::stalled_ms + BufferRelief::pause_ms) == 3);
}

TEST_CASE_FIXTURE(Shortage, "each connection that holds buffers is checked regularly") {
    relief.starve(7, table[7], true);
    hold(3);
    hold(4);
    longest();
    CHECK(host.looks == 2);
    longest_after(BufferRelief::stalled_ms - BufferRelief::pause_ms);
    CHECK(host.looks == 2);
}
