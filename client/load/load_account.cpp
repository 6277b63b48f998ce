#include "client/load/load_account.h"

#include <algorithm>
#include <cerrno>

namespace riposte::client {

Outcome outcome_of(int error) {
    switch (error) {
    case 0: // the end of the stream
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return Outcome::closed;
    case ECONNREFUSED:
        return Outcome::refused;
    case ETIMEDOUT:
        return Outcome::lost;
    case EMSGSIZE:
        return Outcome::too_big;
    case EACCES: // ICMP: administratively prohibited
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT: // ICMP: protocol unreachable
    case EPROTO:
        return Outcome::unreachable;
    default:
        return Outcome::local;
    }
}

/// Over UDP nothing waits for a place, unless as many are outstanding as are remembered.
void LoadAccount::left(const Stamp& stamp, uint64_t lateness_ns, uint64_t wait_ns) {
    if (!counts(stamp))
        return;
    result_.lateness.record(lateness_ns);
    if (result_.transport == Transport::tcp)
        result_.wait.record(wait_ns);
    if (lateness_ns > late_ns)
        result_.late_generator++;
    if (wait_ns > late_ns)
        result_.late_blocked++;
}

void LoadAccount::failed(const Stamp& stamp, Outcome outcome, uint64_t bytes) {
    if (!counts(stamp))
        return;
    LoadCounts& counts = result_.counts;
    counts.bytes_received += bytes;
    if (result_.series)
        result_.series->record_failure(stamp.intended_ns);
    switch (outcome) {
    case Outcome::lost:
        counts.lost++;
        break;
    case Outcome::corrupted:
        counts.corrupted++;
        break;
    case Outcome::wrong_size:
        counts.wrong_size++;
        break;
    case Outcome::refused:
        counts.refused++;
        break;
    case Outcome::unreachable:
        counts.unreachable++;
        break;
    case Outcome::closed:
        counts.closed++;
        break;
    case Outcome::too_big:
        counts.too_big++;
        break;
    case Outcome::local:
        counts.local++;
        break;
    }
}

uint64_t LoadAccount::waiting() const {
    const LoadCounts& counts = result_.counts;
    return counts.sent - counts.answered - counts.lost - counts.corrupted - counts.wrong_size -
           counts.refused - counts.unreachable - counts.closed - counts.too_big - counts.local;
}

void LoadAccount::fold() {
    result_.latency.merge(recent_);
    recent_.clear();
}

void LoadAccount::finish() {
    fold();
    if (!open_loop_)
        result_.latency_from_send = result_.latency;
    result_.counts.undecided = waiting();
}

} // namespace riposte::client
