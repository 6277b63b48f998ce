#include "daemon/metrics.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

namespace riposte {
namespace {

struct Named {
    Count count;
    std::string_view name;
};

/// What an operator wants to hear of only when it happened.
constexpr auto exceptions = std::to_array<Named>({
    {Count::connections_adopted, "adopted"},
    {Count::connections_handed_over, "handed over"},
    {Count::connections_denied, "denied"},
    {Count::connections_refused, "refused"},
    {Count::connections_over_source, "refused over their source's limit"},
    {Count::connections_over_listener, "refused over their listener's limit"},
    {Count::connections_evicted, "closed for newcomers"},
    {Count::connections_reset, "reset"},
    {Count::first_byte_timeouts, "first-byte timeouts"},
    {Count::idle_timeouts, "idle timeouts"},
    {Count::write_stall_timeouts, "write stalls"},
    {Count::stalls_relieved, "reset for their buffers"},
    {Count::read_rates_low, "slow senders"},
    {Count::write_rates_low, "slow readers"},
    {Count::linger_timeouts, "linger timeouts"},
    {Count::accept_emfile, "accept errors (EMFILE)"},
    {Count::accept_enfile, "accept errors (ENFILE)"},
    {Count::accept_enobufs, "accept errors (ENOBUFS)"},
    {Count::accept_enomem, "accept errors (ENOMEM)"},
    {Count::accept_other, "accept errors"},
    {Count::datagrams_denied, "datagrams denied"},
    {Count::datagrams_unanswered, "datagrams unanswered"},
    {Count::datagrams_too_long, "answers longer than the question dropped"},
    {Count::datagrams_longer, "answers longer than the question"},
    {Count::datagrams_send_failed, "answers that could not be sent"},
    {Count::datagrams_source_port, "datagrams from reserved ports"},
    {Count::datagrams_own_port, "datagrams from ports served here"},
    {Count::datagrams_source_address, "datagrams from addresses of no host"},
    {Count::datagrams_to_group, "datagrams to broadcast or multicast"},
    {Count::datagrams_malformed, "malformed datagrams"},
    {Count::datagrams_over_prefix_rate, "datagrams over their prefix's rate"},
    {Count::datagrams_crowded, "datagrams over the rate of the crowd"},
    {Count::datagrams_over_newcomer_rate, "datagrams over the newcomers' rate"},
    {Count::datagrams_over_rate, "datagrams over the rate of all"},
});

constexpr auto all_drops = std::to_array<Drop>({
    {Count::connections_denied, Transport::tcp, "denied"},
    {Count::connections_refused, Transport::tcp, "refused"},
    {Count::connections_over_source, Transport::tcp, "over_source"},
    {Count::connections_over_listener, Transport::tcp, "over_listener"},
    {Count::connections_evicted, Transport::tcp, "evicted"},
    {Count::first_byte_timeouts, Transport::tcp, "first_byte_timeout"},
    {Count::idle_timeouts, Transport::tcp, "idle_timeout"},
    {Count::write_stall_timeouts, Transport::tcp, "write_stall"},
    {Count::stalls_relieved, Transport::tcp, "buffers"},
    {Count::read_rates_low, Transport::tcp, "slow_sender"},
    {Count::write_rates_low, Transport::tcp, "slow_reader"},
    {Count::linger_timeouts, Transport::tcp, "linger_timeout"},
    {Count::datagrams_denied, Transport::udp, "denied"},
    {Count::datagrams_source_port, Transport::udp, "source_port"},
    {Count::datagrams_own_port, Transport::udp, "own_port"},
    {Count::datagrams_source_address, Transport::udp, "source_address"},
    {Count::datagrams_to_group, Transport::udp, "group"},
    {Count::datagrams_malformed, Transport::udp, "malformed"},
    {Count::datagrams_over_prefix_rate, Transport::udp, "prefix_rate"},
    {Count::datagrams_crowded, Transport::udp, "crowded"},
    {Count::datagrams_over_newcomer_rate, Transport::udp, "newcomer_rate"},
    {Count::datagrams_over_rate, Transport::udp, "rate"},
    {Count::datagrams_too_long, Transport::udp, "too_long"},
    {Count::datagrams_send_failed, Transport::udp, "send_failed"},
});

constexpr auto all_accept_errors = std::to_array<AcceptError>({
    {Count::accept_emfile, EMFILE, "EMFILE"},
    {Count::accept_enfile, ENFILE, "ENFILE"},
    {Count::accept_enobufs, ENOBUFS, "ENOBUFS"},
    {Count::accept_enomem, ENOMEM, "ENOMEM"},
    {Count::accept_other, 0, "other"},
});

constexpr ServiceKind service_at(size_t index) {
    return static_cast<ServiceKind>(index);
}

} // namespace

std::string_view name_of(Count count) {
    const auto* found = std::ranges::find(exceptions, count, &Named::count);
    return found == exceptions.end() ? "" : found->name;
}

std::span<const Drop> drops() {
    return all_drops;
}

std::span<const AcceptError> accept_errors() {
    return all_accept_errors;
}

Count accept_error(int error) {
    const auto* found = std::ranges::find(all_accept_errors, error, &AcceptError::error);
    return found == all_accept_errors.end() ? Count::accept_other : found->count;
}

uint64_t Metrics::get(Count count) const noexcept {
    uint64_t sum = 0;
    for (size_t service = 0; service < service_kinds; ++service)
        sum += get(service_at(service), count);
    return sum;
}

void Totals::add(const Metrics& metrics) noexcept {
    for (size_t service = 0; service < service_kinds; ++service) {
        for (size_t i = 0; i < count_kinds; ++i)
            values_[service][i] += metrics.get(service_at(service), static_cast<Count>(i));
        for (size_t i = 0; i < transports; ++i)
            latency_[service][i].add(
                metrics.latency(service_at(service), static_cast<Transport>(i)));
    }
    buffers_used_ += metrics.buffers_used();
}

uint64_t Totals::operator[](Count count) const noexcept {
    uint64_t sum = 0;
    for (const auto& row : values_)
        sum += row[static_cast<size_t>(count)];
    return sum;
}

uint64_t Totals::connections_open(ServiceKind service) const noexcept {
    uint64_t came =
        of(service, Count::connections_accepted) + of(service, Count::connections_adopted);
    uint64_t left =
        of(service, Count::connections_closed) + of(service, Count::connections_handed_over);
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
    return (*this)[Count::connections_refused] + (*this)[Count::connections_over_source] +
           (*this)[Count::connections_over_listener];
}

uint64_t Totals::datagrams_refused() const noexcept {
    uint64_t sum = 0;
    for (auto i = static_cast<size_t>(Count::datagrams_denied); i < count_kinds; ++i)
        sum += (*this)[static_cast<Count>(i)];
    return sum;
}

std::string Totals::describe() const {
    const Totals& t = *this;
    std::string line = fmt::format(
        "connections {} open, {} accepted; bytes {} received, {} sent; datagrams {} received, {} "
        "answered",
        connections_open(), t[Count::connections_accepted], t[Count::stream_received_bytes],
        t[Count::stream_sent_bytes], t[Count::datagrams_received], t[Count::datagrams_sent]);
    for (const auto& [count, name] : exceptions)
        if (t[count] > 0)
            line += fmt::format("; {} {}", t[count], name);
    return line;
}

} // namespace riposte
