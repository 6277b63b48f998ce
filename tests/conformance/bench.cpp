#include "tests/conformance/bench.h"

#include "tests/support/patience.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::test {
namespace {

using std::chrono::milliseconds;

/// Turns until what must come has come, and whether it may still be waited for.
class EmptyTurns {
public:
    bool patient() const { return std::chrono::steady_clock::now() < end_; }
    /// The first looks only, and the next ones sleep.
    milliseconds next(milliseconds sleep) {
        return std::exchange(first_, false) ? milliseconds(0) : sleep;
    }
    void begin_again() { *this = EmptyTurns(); }

private:
    std::chrono::steady_clock::time_point end_ =
        std::chrono::steady_clock::now() + patience(std::chrono::seconds(20));
    bool first_ = true;
};

constexpr int quiet_turns = 4; ///< of 5 ms each, in which nothing may come

} // namespace

Bytes pattern(size_t size, uint64_t from) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(((from + i) * 131 + (from + i) / 251 * 17) & 0xff);
    return bytes;
}

Bench::Bench()
    : streams_(std::move(*BufferPool::create(stream_buffers, stream_buffer_bytes))),
      datagrams_(std::move(*DatagramPool::create(datagram_buffers))) {}

std::unique_ptr<Bench> looking(std::unique_ptr<Bench> bench) {
    bench->look_first(milliseconds(2));
    return bench;
}

size_t Bench::turn(milliseconds sleep) {
    std::chrono::microseconds spin = look_first_;
    if (sleep.count() >= 0)
        spin = std::min<std::chrono::microseconds>(spin, sleep);
    return turn(Wait{sleep, spin});
}

size_t Bench::turn(Wait wait) {
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

std::string Bench::describe_waiting() const {
    std::string text;
    for (const Event& event : waiting_)
        text += fmt::format(
            "[kind {} token {}.{} result {}{}]", static_cast<int>(event.kind), event.token.slot,
            event.token.generation, event.result, event.last ? " last" : "");
    return text.empty() ? "none" : text;
}

Event Bench::expect(OpKind kind, Token token) {
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
            "; there: ", describe_waiting());
        REQUIRE_MESSAGE(turns.patient(), "an event did not come");
        turn(turns.next(milliseconds(20)));
    }
}

Event Bench::next() {
    for (EmptyTurns turns; waiting_.empty();) {
        REQUIRE_MESSAGE(turns.patient(), "no event came");
        turn(turns.next(milliseconds(20)));
    }
    const Event event = waiting_.front();
    waiting_.erase(waiting_.begin());
    return event;
}

std::optional<Event> Bench::look_for(OpKind kind, Token token) {
    for (int turns = 0; turns < quiet_turns; ++turns) {
        const bool there = std::ranges::any_of(waiting_, [&](const Event& event) {
            return event.kind == kind && event.token == token;
        });
        if (there)
            return expect(kind, token);
        turn(milliseconds(5));
    }
    return std::nullopt;
}

bool Bench::quiet() {
    for (int turns = 0; turns < quiet_turns && waiting_.empty(); ++turns)
        turn(milliseconds(5));
    INFO("there: ", describe_waiting());
    CHECK(waiting_.empty());
    return waiting_.empty();
}

int Bench::accept(int listener) {
    for (int tries = 0; tries < 10; ++tries) {
        if (accepting_ != listener)
            give({.kind = OpKind::accept, .token = accept_token, .fd = listener, .size = 1});
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

void Bench::stop_accept(int listener) {
    if (accepting_ != listener)
        return;
    give({.kind = OpKind::stop, .target = OpKind::accept, .token = accept_token, .fd = listener});
    REQUIRE(expect(OpKind::accept, accept_token).last);
    accepting_ = -1;
}

Link Bench::link(int listener) {
    const int peer = connect(listener);
    const int fd = accept(listener);
    return {.fd = fd, .token = {next_slot_++, 1}, .peer = peer};
}

void Bench::receive(const Link& link, uint32_t size) {
    give({.kind = OpKind::receive, .token = link.token, .fd = link.fd, .size = size});
}

Bytes Bench::take(const Event& event) {
    REQUIRE(event.result > 0);
    REQUIRE(event.buffer < streams_.count());
    REQUIRE(streams_.owner(event.buffer) == Owner::worker);
    const auto bytes = streams_.bytes(event.buffer).first(static_cast<size_t>(event.result));
    Bytes taken(bytes.begin(), bytes.end());
    release(event.buffer);
    return taken;
}

Bytes Bench::receive_all(const Link& link, size_t size, int32_t& end) {
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
    if (armed) { // it may be one that ends by its cap alone, or none
        give({.kind = OpKind::stop, .target = OpKind::receive, .token = link.token, .fd = link.fd});
        while (armed) {
            const Event event = expect(OpKind::receive, link.token);
            armed = !event.last;
            if (event.result > 0)
                std::ranges::copy(take(event), std::back_inserter(all));
        }
    }
    return all;
}

BufferId Bench::send(const Link& link, uint32_t size, uint64_t from, bool more) {
    const BufferId buffer = streams_.take(Owner::worker);
    REQUIRE(buffer != no_buffer);
    std::ranges::copy(pattern(size, from), streams_.bytes(buffer).begin());
    send_rest(link, buffer, 0, size, more);
    return buffer;
}

void Bench::send_rest(
    const Link& link, BufferId buffer, uint32_t offset, uint32_t size, bool more) {
    streams_.move(buffer, Owner::worker, Owner::backend);
    give(
        {.kind = OpKind::send,
         .more = more,
         .token = link.token,
         .fd = link.fd,
         .buffer = buffer,
         .offset = offset,
         .size = size});
}

int Bench::ask(int fd, const std::string& address, std::span<const std::byte> bytes) {
    const int who = asker(fd, address);
    REQUIRE(question(who, bytes));
    return who;
}

void Bench::close(const Link& link) {
    give({.kind = OpKind::close, .token = link.token, .fd = link.fd});
    const Event event = expect(OpKind::close, link.token);
    CHECK(event.last);
    CHECK(event.result == 0);
}

void Bench::let_go(const Link& link) {
    give({.kind = OpKind::release, .token = link.token, .fd = link.fd});
    const Event event = expect(OpKind::release, link.token);
    CHECK(event.last);
    CHECK(event.result == 0);
    CHECK(event.buffer == no_buffer);
    CHECK(is_open(link.fd));
}

Bytes Bench::peer_take(int peer, size_t size, int32_t& end) {
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
            REQUIRE_MESSAGE(turns.patient(), "bytes for a peer did not come");
            turn(turns.next(milliseconds(5)));
        }
    }
    return all;
}

void Bench::peer_give(int peer, std::span<const std::byte> bytes) {
    for (EmptyTurns turns; !bytes.empty();) {
        const int32_t result = peer_send(peer, bytes);
        REQUIRE_MESSAGE((result > 0 || result == -EAGAIN), "a peer can not send");
        if (result > 0)
            bytes = bytes.subspan(static_cast<size_t>(result));
        else
            turn(milliseconds(5));
        REQUIRE(turns.patient());
    }
}

int Bench::peer_end(int peer) {
    int32_t end = 1;
    peer_take(peer, SIZE_MAX, end);
    return end;
}

} // namespace riposte::test
