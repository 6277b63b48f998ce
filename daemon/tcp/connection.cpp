#include "daemon/tcp/connection.h"

namespace riposte {
namespace {

Step advance_open(const Connection& c, uint32_t window_bytes) noexcept {
    const bool has_bytes = c.pending.bytes > 0;
    if (c.farewell_due && !c.starved)
        return Step::farewell;
    if (has_bytes && !c.sending())
        return Step::send;
    if (c.generating && !has_bytes && !c.starved)
        return Step::generate;
    if (c.finish_requested && !has_bytes && !c.farewell_due)
        return c.peer_finished ? Step::leave : Step::finish;
    if (c.handing_off && !c.peer_finished && !c.finish_requested) {
        if (c.receiving())
            return c.stopping() ? Step::wait : Step::stop;
        return has_bytes || c.sending() ? Step::wait : Step::release;
    }
    // Half a window, so that a stream is re-armed for a useful amount, not for every byte sent.
    if (!c.receiving() && !c.peer_finished && !c.starved && c.pending.bytes <= window_bytes / 2)
        return Step::receive;
    return Step::wait;
}

} // namespace

Step advance(const Connection& c, uint32_t window_bytes) noexcept {
    switch (c.state()) {
    case ConnectionState::free:
    case ConnectionState::releasing:
        return Step::wait;
    case ConnectionState::open:
        return advance_open(c, window_bytes);
    case ConnectionState::finishing:
        if (c.peer_finished)
            return Step::leave;
        return c.receiving() || c.starved ? Step::wait : Step::receive;
    case ConnectionState::closing:
        if (c.receiving() && !c.stopping())
            return Step::stop;
        [[fallthrough]];
    case ConnectionState::aborting:
        return c.receiving() || c.sending() || c.close_given() ? Step::wait : Step::close;
    }
    return Step::wait;
}

// Transitions -------------------------------------------------------------------------------------

void Connection::open(int new_fd, const SourceKey& from, uint16_t from_port) noexcept {
    assert(is_free() && !in_flight() && pending.head == no_buffer);
    const uint32_t next = (generation + 1) & Token::max;
    *this = Connection{};
    state_ = ConnectionState::open;
    fd = new_fd;
    generation = next;
    source = from;
    source_port = from_port;
}

void Connection::finish() noexcept {
    assert(is_open() && pending.bytes == 0 && !sending_);
    state_ = ConnectionState::finishing;
}

void Connection::leave() noexcept {
    assert((is_open() || is_finishing()) && pending.bytes == 0 && !sending_);
    state_ = ConnectionState::closing;
}

void Connection::abort() noexcept {
    assert(!is_free() && may_abort());
    state_ = ConnectionState::aborting;
}

void Connection::release() noexcept {
    assert(is_open() && !in_flight() && pending.head == no_buffer);
    state_ = ConnectionState::releasing;
}

void Connection::vacate() noexcept {
    assert(is_over() || state_ == ConnectionState::releasing);
    assert(!in_flight() && pending.head == no_buffer);
    state_ = ConnectionState::free;
    listener = nullptr;
    service.reset();
    starved = false;
    evicted = false;
}

} // namespace riposte
