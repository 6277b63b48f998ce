#include "client/load/load_account.h"

#include <algorithm>

namespace riposte::client {

/// Over UDP nothing waits for a place, unless as many are outstanding as are remembered.
void LoadAccount::left(const RequestTimes& times, uint64_t lateness_ns, uint64_t wait_ns) {
    if (!counts(times))
        return;
    result_.lateness.record(lateness_ns);
    if (result_.transport == Transport::tcp)
        result_.wait.record(wait_ns);
    if (lateness_ns > late_ns)
        result_.late_generator++;
    if (wait_ns > late_ns)
        result_.late_blocked++;
}

void LoadAccount::count_failure(
    const RequestTimes& times, Outcome outcome, const Cause* cause, uint64_t bytes) {
    if (!counts(times))
        return;
    result_.last_failure = {
        .due_ns = times.intended_ns - measured_from_ns_,
        .outcome = outcome,
        .cause = cause != nullptr ? std::optional(*cause) : std::nullopt};
    LoadCounts& counts = result_.counts;
    counts.bytes_received += bytes;
    if (result_.series)
        result_.series->record_failure(times.intended_ns);
    counts.add(outcome);
    if (intervals_ != nullptr)
        intervals_->decide(0, times.intended_ns, outcome);
}

void LoadAccount::failed(const RequestTimes& times, Outcome outcome, uint64_t bytes) {
    count_failure(times, outcome, nullptr, bytes);
}

void LoadAccount::failed(const RequestTimes& times, const Cause& cause, uint64_t bytes) {
    const Outcome outcome = outcome_of(cause);
    if (outcome == Outcome::local)
        local_error_ = cause.error;
    count_failure(times, outcome, &cause, bytes);
    if (counts(times) && cause.kind != CauseKind::no_answer)
        result_.causes.note(cause);
}

void LoadAccount::fold() {
    result_.latency.merge(recent_);
    recent_.clear();
}

void LoadAccount::finish() {
    fold();
    if (!open_loop_)
        result_.latency_from_send = result_.latency;
}

} // namespace riposte::client
