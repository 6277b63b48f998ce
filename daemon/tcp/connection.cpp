#include "daemon/tcp/connection.h"

namespace riposte {
namespace {

Step advance_open(const Connection& c, uint32_t window_bytes) noexcept {
    bool owes = c.owed.bytes > 0;
    if (c.farewell_due && !c.starved)
        return Step::farewell;
    if (owes && !c.sending)
        return Step::send;
    if (c.generating && !owes && !c.starved)
        return Step::generate;
    if (c.finish_requested && !owes && !c.farewell_due)
        return c.peer_finished ? Step::leave : Step::finish;
    if (c.handing_over && !c.peer_finished && !c.finish_requested) {
        if (c.receiving)
            return c.stopping ? Step::wait : Step::stop;
        return owes || c.sending ? Step::wait : Step::release;
    }
    // Half a window, so that a stream is re-armed for a useful amount, not for every byte sent.
    if (!c.receiving && !c.peer_finished && !c.starved && c.owed.bytes <= window_bytes / 2)
        return Step::receive;
    return Step::wait;
}

} // namespace

Step advance(const Connection& c, uint32_t window_bytes) noexcept {
    switch (c.state) {
    case ConnectionState::free:
    case ConnectionState::releasing:
        return Step::wait;
    case ConnectionState::open:
        return advance_open(c, window_bytes);
    case ConnectionState::finishing:
        if (c.peer_finished)
            return Step::leave;
        return c.receiving || c.starved ? Step::wait : Step::receive;
    case ConnectionState::closing:
        if (c.receiving && !c.stopping)
            return Step::stop;
        [[fallthrough]];
    case ConnectionState::aborting:
        return c.receiving || c.sending || c.close_given ? Step::wait : Step::close;
    }
    return Step::wait;
}

} // namespace riposte
