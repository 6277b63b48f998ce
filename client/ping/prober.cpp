#include "client/ping/prober.h"

#include "client/show/report.h"
#include "common/text.h"

#include <utility>

#include <fmt/format.h>

namespace riposte::client {

Result<void> Prober::move_to(const SocketAddress& address) {
    settings_.address = address;
    account_.set_address(to_string(address));
    return leave_address();
}

void Prober::arrived(const ProbeOutcome& arrival, ReceiveClock clock) {
    if (arrival.outcome == Outcome::answered)
        account_.set_clock(combine(result().clock, clock));
    listener_.on_arrival(result(), arrival);
}

void Prober::failed(const ProbeFailure& failure) {
    const bool has_cause =
        failure.outcome != Outcome::lost || failure.cause.kind == CauseKind::no_connection;
    if (!account_.fail(failure.sequence, failure.outcome, has_cause ? &failure.cause : nullptr))
        return;
    if (failure.outcome != Outcome::lost)
        note_failed(failure.sequence);
    if (has_cause)
        account_.note_cause(failure.cause);
    if (failure.outcome == Outcome::refused && failure.took_ns > 0)
        account_.note_refusal(failure.took_ns);
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

void Prober::report_not_sent(int error, std::string_view advice) {
    const bool has_address = settings_.address.size > 0; // else that was reported
    if (!has_address || std::exchange(reported_not_sent_, true))
        return;
    const std::string line = fmt::format(
        "{}: this machine did not send a probe: {} (such probes do not count as lost){}",
        name_of(settings_.target, settings_.address), reason(error), advice);
    listener_.on_trouble(result(), line);
}

} // namespace riposte::client
