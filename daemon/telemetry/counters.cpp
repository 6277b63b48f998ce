#include "daemon/telemetry/counters.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

namespace riposte {
namespace {

struct Named {
    Counter count;
    std::string_view name;
};

/// What an operator wants to hear of only when it happened.
constexpr auto exceptions = std::to_array<Named>({
    {Counter::connections_adopted, "adopted"},
    {Counter::connections_handed_over, "handed over"},
    {Counter::connections_denied, "denied"},
    {Counter::connections_refused, "refused"},
    {Counter::connections_over_source, "refused over their source's limit"},
    {Counter::connections_over_listener, "refused over their listener's limit"},
    {Counter::connections_evicted, "closed for newcomers"},
    {Counter::connections_reset, "reset"},
    {Counter::first_byte_timeouts, "first-byte timeouts"},
    {Counter::idle_timeouts, "idle timeouts"},
    {Counter::write_stall_timeouts, "write stalls"},
    {Counter::stalls_relieved, "reset for their buffers"},
    {Counter::read_rates_low, "slow senders"},
    {Counter::write_rates_low, "slow readers"},
    {Counter::linger_timeouts, "linger timeouts"},
    {Counter::accept_emfile, "accept errors (EMFILE)"},
    {Counter::accept_enfile, "accept errors (ENFILE)"},
    {Counter::accept_enobufs, "accept errors (ENOBUFS)"},
    {Counter::accept_enomem, "accept errors (ENOMEM)"},
    {Counter::accept_other, "accept errors"},
    {Counter::datagrams_denied, "datagrams denied"},
    {Counter::datagrams_unanswered, "datagrams unanswered"},
    {Counter::datagrams_too_long, "answers longer than the question dropped"},
    {Counter::datagrams_longer, "answers longer than the question"},
    {Counter::datagrams_send_failed, "answers that could not be sent"},
    {Counter::datagrams_source_port, "datagrams from reserved ports"},
    {Counter::datagrams_own_port, "datagrams from ports served here"},
    {Counter::datagrams_source_address, "datagrams from addresses of no host"},
    {Counter::datagrams_to_group, "datagrams to broadcast or multicast"},
    {Counter::datagrams_malformed, "malformed datagrams"},
    {Counter::datagrams_over_prefix_rate, "datagrams over their prefix's rate"},
    {Counter::datagrams_crowded, "datagrams over the rate of the crowd"},
    {Counter::datagrams_over_newcomer_rate, "datagrams over the newcomers' rate"},
    {Counter::datagrams_over_rate, "datagrams over the rate of all"},
});

constexpr auto all_drops = std::to_array<Drop>({
    {Counter::connections_denied, Transport::tcp, "denied"},
    {Counter::connections_refused, Transport::tcp, "refused"},
    {Counter::connections_over_source, Transport::tcp, "over_source"},
    {Counter::connections_over_listener, Transport::tcp, "over_listener"},
    {Counter::connections_evicted, Transport::tcp, "evicted"},
    {Counter::first_byte_timeouts, Transport::tcp, "first_byte_timeout"},
    {Counter::idle_timeouts, Transport::tcp, "idle_timeout"},
    {Counter::write_stall_timeouts, Transport::tcp, "write_stall"},
    {Counter::stalls_relieved, Transport::tcp, "buffers"},
    {Counter::read_rates_low, Transport::tcp, "slow_sender"},
    {Counter::write_rates_low, Transport::tcp, "slow_reader"},
    {Counter::linger_timeouts, Transport::tcp, "linger_timeout"},
    {Counter::datagrams_denied, Transport::udp, "denied"},
    {Counter::datagrams_source_port, Transport::udp, "source_port"},
    {Counter::datagrams_own_port, Transport::udp, "own_port"},
    {Counter::datagrams_source_address, Transport::udp, "source_address"},
    {Counter::datagrams_to_group, Transport::udp, "group"},
    {Counter::datagrams_malformed, Transport::udp, "malformed"},
    {Counter::datagrams_over_prefix_rate, Transport::udp, "prefix_rate"},
    {Counter::datagrams_crowded, Transport::udp, "crowded"},
    {Counter::datagrams_over_newcomer_rate, Transport::udp, "newcomer_rate"},
    {Counter::datagrams_over_rate, Transport::udp, "rate"},
    {Counter::datagrams_too_long, Transport::udp, "too_long"},
    {Counter::datagrams_send_failed, Transport::udp, "send_failed"},
});

constexpr auto all_accept_errors = std::to_array<AcceptError>({
    {Counter::accept_emfile, EMFILE, "EMFILE"},
    {Counter::accept_enfile, ENFILE, "ENFILE"},
    {Counter::accept_enobufs, ENOBUFS, "ENOBUFS"},
    {Counter::accept_enomem, ENOMEM, "ENOMEM"},
    {Counter::accept_other, 0, "other"},
});

constexpr ServiceKind service_at(size_t index) {
    return static_cast<ServiceKind>(index);
}

} // namespace

std::string_view name_of(Counter count) {
    const auto* found = std::ranges::find(exceptions, count, &Named::count);
    return found == exceptions.end() ? "" : found->name;
}

std::span<const Drop> drops() {
    return all_drops;
}

std::span<const AcceptError> accept_errors() {
    return all_accept_errors;
}

Counter accept_error(int error) {
    const auto* found = std::ranges::find(all_accept_errors, error, &AcceptError::error);
    return found == all_accept_errors.end() ? Counter::accept_other : found->count;
}

uint64_t Counters::get(Counter count) const noexcept {
    uint64_t sum = 0;
    for (size_t service = 0; service < service_kinds; ++service)
        sum += get(service_at(service), count);
    return sum;
}

void Totals::add(const Counters& metrics) noexcept {
    for (size_t service = 0; service < service_kinds; ++service) {
        for (size_t i = 0; i < count_kinds; ++i)
            values_[service][i] += metrics.get(service_at(service), static_cast<Counter>(i));
        for (size_t i = 0; i < transports; ++i)
            latency_[service][i].add(
                metrics.latency(service_at(service), static_cast<Transport>(i)));
    }
    buffers_used_ += metrics.buffers_used();
}

uint64_t Totals::operator[](Counter count) const noexcept {
    uint64_t sum = 0;
    for (const auto& row : values_)
        sum += row[static_cast<size_t>(count)];
    return sum;
}

uint64_t Totals::connections_open(ServiceKind service) const noexcept {
    uint64_t came =
        of(service, Counter::connections_accepted) + of(service, Counter::connections_adopted);
    uint64_t left =
        of(service, Counter::connections_closed) + of(service, Counter::connections_handed_over);
    return came > left ? came - left : 0; // a reader may see who left the later
}

uint64_t Totals::connections_open() const noexcept {
    uint64_t sum = 0;
    for (size_t service = 0; service < service_kinds; ++service)
        sum += connections_open(service_at(service));
    return sum;
}

uint64_t Totals::accept_errors() const noexcept {
    uint64_t sum = 0;
    for (const AcceptError& each : all_accept_errors)
        sum += (*this)[each.count];
    return sum;
}

uint64_t Totals::connections_over_limits() const noexcept {
    return (*this)[Counter::connections_refused] + (*this)[Counter::connections_over_source] +
           (*this)[Counter::connections_over_listener];
}

uint64_t Totals::datagrams_refused() const noexcept {
    uint64_t sum = 0;
    for (auto i = static_cast<size_t>(Counter::datagrams_denied); i < count_kinds; ++i)
        sum += (*this)[static_cast<Counter>(i)];
    return sum;
}

std::string Totals::describe() const {
    const Totals& t = *this;
    std::string line = fmt::format(
        "connections {} open, {} accepted; bytes {} received, {} sent; datagrams {} received, {} "
        "answered",
        connections_open(), t[Counter::connections_accepted], t[Counter::stream_received_bytes],
        t[Counter::stream_sent_bytes], t[Counter::datagrams_received], t[Counter::datagrams_sent]);
    for (const auto& [count, name] : exceptions)
        if (t[count] > 0)
            line += fmt::format("; {} {}", t[count], name);
    return line;
}

} // namespace riposte
