#include "client/ping/prober.h"

#include <cerrno>

namespace riposte::client {

void Prober::arrived(const Arrival& arrival, ReceiveClock clock) {
    if (arrival.fate == Fate::answered)
        result().clock = combine(result().clock, clock);
    listener_.on_arrival(result(), arrival);
}

void Prober::failed(const ProbeFailure& failure) {
    if (!account_.fail(failure.sequence, failure.fate))
        return;
    const bool is_told = failure.fate != Fate::lost;
    if (is_told || failure.cause.kind == CauseKind::no_connection)
        result().causes.note(failure.cause);
    if (failure.fate == Fate::refused && failure.took_ns > 0)
        result().refusal.record(failure.took_ns);
    listener_.on_failure(result(), failure);
}

void Prober::failed(const ProbeFailure& failure, ReceiveTime received) {
    const bool is_late = received.clock == ReceiveClock::kernel &&
                         received.ns >= account_.expiry_ns(failure.sequence);
    failed(is_late ? ProbeFailure{.sequence = failure.sequence} : failure);
}

void Prober::give_up(const ProbeFailure& failure) {
    listener_.on_failure(result(), failure);
}

Fate fate_of(int error) {
    if (error == ECONNRESET) // a connection that was made, and ended before it was looked at
        return Fate::closed;
    if (error == EMSGSIZE)
        return Fate::too_big;
    return error == ECONNREFUSED ? Fate::refused : Fate::unreachable;
}

} // namespace riposte::client
