#include "client/ping/prober.h"

#include <cerrno>

namespace riposte::client {

void Prober::arrived(const Arrival& arrival, ReceiveClock clock) {
    if (arrival.fate == Fate::answered)
        result().clock = combine(result().clock, clock);
    listener_.on_arrival(result(), arrival);
}

void Prober::failed(uint64_t sequence, Fate fate) {
    if (account_.fail(sequence, fate))
        listener_.on_failure(result(), sequence, fate);
}

void Prober::failed(uint64_t sequence, Fate fate, ReceiveTime received) {
    const bool is_late =
        received.clock == ReceiveClock::kernel && received.ns >= account_.expiry_ns(sequence);
    failed(sequence, is_late ? Fate::lost : fate);
}

void Prober::give_up(uint64_t sequence) {
    listener_.on_failure(result(), sequence, Fate::lost);
}

Fate fate_of(int error) {
    if (error == ECONNRESET) // a connection that was made, and ended before it was looked at
        return Fate::closed;
    return error == ECONNREFUSED ? Fate::refused : Fate::unreachable;
}

} // namespace riposte::client
