#include "tests/conformance/harness.h"

#include "tests/support/patience.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::test {
namespace {

using std::chrono::milliseconds;

/// The turns of a wait for something that must come: their sleeps, and the time limit of all.
class EmptyTurns {
public:
    bool within_limit() const { return std::chrono::steady_clock::now() < end_; }
    /// The first turn does not sleep, the next ones do.
    milliseconds next(milliseconds sleep) {
        return std::exchange(first_, false) ? milliseconds(0) : sleep;
    }
    void begin_again() { *this = EmptyTurns(); }

private:
    std::chrono::steady_clock::time_point end_ =
        std::chrono::steady_clock::now() + patience(std::chrono::seconds(20));
    bool first_ = true;
};

constexpr int quiet_turns = 4; ///< of 5 ms each, in which no event may come

} // namespace

Bytes pattern(size_t size, uint64_t from) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(((from + i) * 131 + (from + i) / 251 * 17) & 0xff);
    return bytes;
}

Harness::Harness()
    : streams_(std::move(*BufferPool::create(stream_buffers, stream_buffer_bytes))),
      datagrams_(std::move(*DatagramPool::create(datagram_buffers))) {}

std::unique_ptr<Harness> spinning(std::unique_ptr<Harness> harness) {
    harness->spin_first(milliseconds(2));
    return harness;
}

size_t Harness::turn(milliseconds sleep) {
    std::chrono::microseconds spin = spin_first_;
    if (sleep.count() >= 0)
        spin = std::min<std::chrono::microseconds>(spin, sleep);
    return turn(Wait{sleep, spin});
}

size_t Harness::turn(Wait wait) {
    std::vector<Event> events(span_, Event{OpKind::stop, {}, 0});
    const size_t count = backend_->turn(ops_, events, wait);
    ops_.clear();
    events.resize(count);
    for (const Event& event : events) {
        if (event.kind == OpKind::accept && event.result >= 0)
            accepted(event.result);
        waiting_.push_back(event);
    }
    return count;
}

std::string Harness::describe_waiting() const {
    std::string text;
    for (const Event& event : waiting_)
        text += fmt::format(
            "[kind {} token {}.{} result {}{}]", static_cast<int>(event.kind), event.token.slot,
            event.token.generation, event.result, event.last ? " last" : "");
    return text.empty() ? "none" : text;
}

Event Harness::expect(OpKind kind, Token token) {
    for (EmptyTurns turns;;) {
        const auto found = std::ranges::find_if(waiting_, [&](const Event& event) {
            return event.kind == kind && event.token == token;
        });
        if (found != waiting_.end()) {
            const Event event = *found;
            waiting_.erase(found);
            return event;
        }
        INFO(
            "kind ", static_cast<int>(kind), " token ", token.slot,
            "; waiting: ", describe_waiting());
        REQUIRE_MESSAGE(turns.within_limit(), "an event did not come");
        turn(turns.next(milliseconds(20)));
    }
}

Event Harness::next() {
    for (EmptyTurns turns; waiting_.empty();) {
        REQUIRE_MESSAGE(turns.within_limit(), "no event came");
        turn(turns.next(milliseconds(20)));
    }
    const Event event = waiting_.front();
    waiting_.erase(waiting_.begin());
    return event;
}

std::optional<Event> Harness::poll_for(OpKind kind, Token token) {
    for (int turns = 0; turns < quiet_turns; ++turns) {
        const bool has_come = std::ranges::any_of(waiting_, [&](const Event& event) {
            return event.kind == kind && event.token == token;
        });
        if (has_come)
            return expect(kind, token);
        turn(milliseconds(5));
    }
    return std::nullopt;
}

bool Harness::quiet() {
    for (int turns = 0; turns < quiet_turns && waiting_.empty(); ++turns)
        turn(milliseconds(5));
    INFO("waiting: ", describe_waiting());
    CHECK(waiting_.empty());
    return waiting_.empty();
}

int Harness::accept(int listener) {
    for (int tries = 0; tries < 10; ++tries) {
        if (accepting_ != listener)
            submit({.kind = OpKind::accept, .token = accept_token, .fd = listener, .size = 1});
        accepting_ = listener;
        const Event event = expect(OpKind::accept, accept_token);
        if (event.last)
            accepting_ = -1;
        if (event.result >= 0)
            return event.result;
    }
    FAIL("no connection was accepted");
    return -1;
}

void Harness::stop_accept(int listener) {
    if (accepting_ != listener)
        return;
    submit({.kind = OpKind::stop, .target = OpKind::accept, .token = accept_token, .fd = listener});
    REQUIRE(expect(OpKind::accept, accept_token).last);
    accepting_ = -1;
}

Link Harness::link(int listener) {
    const int peer = connect(listener);
    const int fd = accept(listener);
    return {.fd = fd, .token = {next_slot_++, 1}, .peer = peer};
}

void Harness::receive(const Link& link, uint32_t size) {
    submit({.kind = OpKind::receive, .token = link.token, .fd = link.fd, .size = size});
}

Bytes Harness::take(const Event& event) {
    REQUIRE(event.result > 0);
    REQUIRE(event.buffer < streams_.count());
    REQUIRE(streams_.owner(event.buffer) == Owner::worker);
    const auto bytes = streams_.bytes(event.buffer).first(static_cast<size_t>(event.result));
    Bytes taken(bytes.begin(), bytes.end());
    release(event.buffer);
    return taken;
}

Bytes Harness::receive_all(const Link& link, size_t size, int32_t& end) {
    Bytes all;
    bool armed = false;
    for (end = 1; all.size() < size;) {
        if (!armed)
            receive(link, static_cast<uint32_t>(size - all.size()));
        const Event event = expect(OpKind::receive, link.token);
        armed = !event.last;
        if (event.result <= 0) {
            REQUIRE(event.last);
            REQUIRE(event.buffer == no_buffer);
            if (event.result == -ENOBUFS)
                continue;
            end = event.result;
            return all;
        }
        std::ranges::copy(take(event), std::back_inserter(all));
    }
    if (armed) { // the backend may or may not have ended the stream at its cap
        submit(
            {.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
        while (armed) {
            const Event event = expect(OpKind::receive, link.token);
            armed = !event.last;
            if (event.result > 0)
                std::ranges::copy(take(event), std::back_inserter(all));
        }
    }
    return all;
}

BufferId Harness::send(const Link& link, uint32_t size, uint64_t from, bool more) {
    const BufferId buffer = streams_.take(Owner::worker);
    REQUIRE(buffer != no_buffer);
    std::ranges::copy(pattern(size, from), streams_.bytes(buffer).begin());
    send_rest(link, buffer, 0, size, more);
    return buffer;
}

void Harness::send_rest(
    const Link& link, BufferId buffer, uint32_t offset, uint32_t size, bool more) {
    streams_.move(buffer, Owner::worker, Owner::backend);
    submit(
        {.kind = OpKind::send,
         .more = more,
         .token = link.token,
         .fd = link.fd,
         .buffer = buffer,
         .offset = offset,
         .size = size});
}

int Harness::send_request(int fd, const std::string& address, std::span<const std::byte> bytes) {
    const int requester_id = requester(fd, address);
    REQUIRE(request(requester_id, bytes));
    return requester_id;
}

void Harness::close(const Link& link) {
    submit({.kind = OpKind::close, .token = link.token, .fd = link.fd});
    const Event event = expect(OpKind::close, link.token);
    CHECK(event.last);
    CHECK(event.result == 0);
}

void Harness::release_connection(const Link& link) {
    submit({.kind = OpKind::release, .token = link.token, .fd = link.fd});
    const Event event = expect(OpKind::release, link.token);
    CHECK(event.last);
    CHECK(event.result == 0);
    CHECK(event.buffer == no_buffer);
    CHECK(is_open(link.fd));
}

Bytes Harness::peer_receive_all(int peer, size_t size, int32_t& end) {
    Bytes all;
    end = 1;
    for (EmptyTurns turns; all.size() < size;) {
        Bytes some(65'536);
        const int32_t result = peer_receive(peer, some);
        if (result > 0) {
            all.insert(all.end(), some.begin(), some.begin() + result);
            turns.begin_again();
        } else if (result != -EAGAIN) {
            end = result;
            break;
        } else {
            REQUIRE_MESSAGE(turns.within_limit(), "bytes for a peer did not come");
            turn(turns.next(milliseconds(5)));
        }
    }
    return all;
}

void Harness::peer_send_all(int peer, std::span<const std::byte> bytes) {
    for (EmptyTurns turns; !bytes.empty();) {
        const int32_t result = peer_send(peer, bytes);
        REQUIRE_MESSAGE((result > 0 || result == -EAGAIN), "a peer cannot send");
        if (result > 0)
            bytes = bytes.subspan(static_cast<size_t>(result));
        else
            turn(milliseconds(5));
        REQUIRE(turns.within_limit());
    }
}

int Harness::peer_end(int peer) {
    int32_t end = 1;
    peer_receive_all(peer, SIZE_MAX, end);
    return end;
}

} // namespace riposte::test
