#include "daemon/telemetry/counters.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace riposte {
namespace counter_table {

using enum DropStage;
constexpr Transport tcp = Transport::tcp;
constexpr Transport udp = Transport::udp;

constexpr auto rows = std::to_array<CounterRow>({
    {Counter::connections_accepted, CounterFamily::connections_accepted, tcp, "accepted", ""},
    {Counter::connections_closed, CounterFamily::connections_closed, tcp, "closed", ""},
    {Counter::connections_adopted, CounterFamily::connections_adopted, tcp, "adopted", "adopted"},
    {Counter::connections_handed_over, CounterFamily::connections_handed_over, tcp, "handed_over",
     "handed over"},
    {Counter::connections_denied, CounterFamily::dropped, tcp, "denied", "denied", refused},
    {Counter::connections_refused, CounterFamily::dropped, tcp, "refused", "refused", over_limit},
    {Counter::connections_over_source, CounterFamily::dropped, tcp, "over_source",
     "refused over their source's limit", over_limit},
    {Counter::connections_over_listener, CounterFamily::dropped, tcp, "over_listener",
     "refused over their listener's limit", over_limit},
    {Counter::connections_evicted, CounterFamily::dropped, tcp, "evicted",
     "closed for new connections", later},
    {Counter::connections_reset, CounterFamily::connections_reset, tcp, "reset", "reset"},
    {Counter::first_byte_timeouts, CounterFamily::dropped, tcp, "first_byte_timeout",
     "first-byte timeouts", later},
    {Counter::idle_timeouts, CounterFamily::dropped, tcp, "idle_timeout", "idle timeouts", later},
    {Counter::write_stall_timeouts, CounterFamily::dropped, tcp, "write_stall", "write stalls",
     later},
    {Counter::stalls_relieved, CounterFamily::dropped, tcp, "buffers", "reset for their buffers",
     later},
    {Counter::read_rates_low, CounterFamily::dropped, tcp, "slow_sender", "slow senders", later},
    {Counter::write_rates_low, CounterFamily::dropped, tcp, "slow_reader", "slow readers", later},
    {Counter::linger_timeouts, CounterFamily::dropped, tcp, "linger_timeout", "linger timeouts",
     later},
    {Counter::accept_emfile, CounterFamily::accept_errors, tcp, "EMFILE", "accept errors (EMFILE)",
     none, EMFILE},
    {Counter::accept_enfile, CounterFamily::accept_errors, tcp, "ENFILE", "accept errors (ENFILE)",
     none, ENFILE},
    {Counter::accept_enobufs, CounterFamily::accept_errors, tcp, "ENOBUFS",
     "accept errors (ENOBUFS)", none, ENOBUFS},
    {Counter::accept_enomem, CounterFamily::accept_errors, tcp, "ENOMEM", "accept errors (ENOMEM)",
     none, ENOMEM},
    {Counter::accept_other, CounterFamily::accept_errors, tcp, "other", "accept errors"},
    {Counter::stream_received_bytes, CounterFamily::receive_bytes, tcp, "received", ""},
    {Counter::stream_sent_bytes, CounterFamily::transmit_bytes, tcp, "sent", ""},
    {Counter::datagram_received_bytes, CounterFamily::receive_bytes, udp, "received", ""},
    {Counter::datagram_sent_bytes, CounterFamily::transmit_bytes, udp, "sent", ""},
    {Counter::datagrams_received, CounterFamily::datagrams_received, udp, "received", ""},
    {Counter::datagrams_sent, CounterFamily::datagrams, udp, "answered", ""},
    {Counter::datagrams_unanswered, CounterFamily::datagrams, udp, "unanswered",
     "datagrams unanswered"},
    {Counter::datagrams_longer, CounterFamily::longer_answers, udp, "longer",
     "answers longer than the question"},
    {Counter::datagrams_denied, CounterFamily::dropped, udp, "denied", "datagrams denied", refused},
    {Counter::datagrams_source_port, CounterFamily::dropped, udp, "source_port",
     "datagrams from reserved ports", refused},
    {Counter::datagrams_own_port, CounterFamily::dropped, udp, "own_port",
     "datagrams from ports served here", refused},
    {Counter::datagrams_source_address, CounterFamily::dropped, udp, "source_address",
     "datagrams from addresses of no host", refused},
    {Counter::datagrams_to_group, CounterFamily::dropped, udp, "group",
     "datagrams to broadcast or multicast", refused},
    {Counter::datagrams_malformed, CounterFamily::dropped, udp, "malformed", "malformed datagrams",
     refused},
    {Counter::datagrams_reflected, CounterFamily::dropped, udp, "reflected",
     "answers of other reflectors", refused},
    {Counter::datagrams_no_multiplier, CounterFamily::dropped, udp, "multiplier",
     "questions with an invalid error estimate", refused},
    {Counter::datagrams_no_session, CounterFamily::dropped, udp, "session_table",
     "questions without a place for their session", refused},
    {Counter::datagrams_unauthenticated, CounterFamily::dropped, udp, "unauthenticated",
     "questions without a valid HMAC", refused},
    {Counter::datagrams_stale, CounterFamily::dropped, udp, "stale",
     "authenticated questions seen before, or too old", refused},
    {Counter::datagrams_over_prefix_rate, CounterFamily::dropped, udp, "prefix_rate",
     "datagrams over their prefix's rate", refused},
    {Counter::datagrams_crowded, CounterFamily::dropped, udp, "crowded",
     "datagrams over the rate of the crowd", refused},
    {Counter::datagrams_over_newcomer_rate, CounterFamily::dropped, udp, "newcomer_rate",
     "datagrams over the rate of new prefixes", refused},
    {Counter::datagrams_over_rate, CounterFamily::dropped, udp, "rate",
     "datagrams over the rate of all", refused},
    {Counter::datagrams_too_long, CounterFamily::dropped, udp, "too_long",
     "answers longer than the question dropped", later},
    {Counter::datagrams_send_failed, CounterFamily::dropped, udp, "send_failed",
     "answers that could not be sent", later},
});

constexpr auto families = std::to_array<CounterFamilyRow>({
    {CounterFamily::connections_accepted, "riposte_connections_accepted",
     "Connections that were let in.", true, false, ""},
    {CounterFamily::connections_adopted, "riposte_connections_adopted",
     "Connections that were taken over from the previous process.", true, false, ""},
    {CounterFamily::connections_handed_over, "riposte_connections_handed_over",
     "Connections that were kept for the next process.", true, false, ""},
    {CounterFamily::connections_closed, "riposte_connections_closed",
     "Connections that have ended.", true, false, ""},
    {CounterFamily::connections_reset, "riposte_connections_reset",
     "Connections that ended by the peer's RST or another error.", true, false, ""},
    {CounterFamily::accept_errors, "riposte_accept_errors",
     "Accepting paused for this error, see accept(2).", false, false, "errno"},
    {CounterFamily::receive_bytes, "riposte_receive_bytes", "Bytes of messages that arrived.", true,
     true, ""},
    {CounterFamily::transmit_bytes, "riposte_transmit_bytes",
     "Bytes of answers that the kernel took.", true, true, ""},
    {CounterFamily::datagrams_received, "riposte_datagrams_received", "Datagrams that arrived.",
     true, false, ""},
    {CounterFamily::datagrams, "riposte_datagrams",
     "What became of datagrams: answered, unanswered (the service has no answer), dropped.", true,
     false, "result"},
    {CounterFamily::longer_answers, "riposte_longer_answers",
     "Answers longer than their question, to addresses of longer_answers_to.", true, false, ""},
    {CounterFamily::dropped, "riposte_dropped",
     "Datagrams not answered, connections not let in or ended before their time, by reason.", true,
     true, "reason"},
});

/// Each enumerator has its row, once and in order: an index is a row, and an appended enumerator
/// that has none does not compile.
template<class Row, class Enum>
constexpr bool in_order(std::span<const Row> table, Enum Row::* member) {
    for (size_t i = 0; i < table.size(); ++i)
        if (static_cast<size_t>(table[i].*member) != i)
            return false;
    return table.size() == static_cast<size_t>(Enum::end);
}
static_assert(in_order(std::span<const CounterRow>(rows), &CounterRow::counter));
static_assert(in_order(std::span<const CounterFamilyRow>(families), &CounterFamilyRow::family));

/// Within a family samples differ, and what is dropped has a stage, a word and a text for people.
constexpr bool tells_apart() {
    for (const CounterRow& row : rows) {
        const CounterFamilyRow& family = families[static_cast<size_t>(row.family)];
        if ((row.family == CounterFamily::dropped) != (row.drop != none) || row.token.empty())
            return false;
        if (row.drop != none && row.text.empty())
            return false;
        for (const CounterRow& other : rows)
            if (&other != &row && other.family == row.family &&
                (!family.by_transport || other.transport == row.transport) &&
                (family.label.empty() || other.token == row.token))
                return false;
    }
    return true;
}
static_assert(tells_apart());

} // namespace counter_table

namespace {

using counter_table::families;
using counter_table::rows;

constexpr ServiceKind service_at(size_t index) {
    return static_cast<ServiceKind>(index);
}

} // namespace

std::span<const CounterRow> counter_rows() {
    return rows;
}

std::span<const CounterFamilyRow> family_rows() {
    return families;
}

const CounterRow& row_of(Counter counter) {
    assert(counter < Counter::end);
    return rows[static_cast<size_t>(counter)];
}

Counter accept_error(int error) {
    const auto* found = std::ranges::find(rows, error, &CounterRow::accept_error);
    return error == 0 || found == rows.end() ? Counter::accept_other : found->counter;
}

uint64_t Counters::get(Counter counter) const noexcept {
    uint64_t sum = 0;
    for (size_t service = 0; service < service_kinds; ++service)
        sum += get(service_at(service), counter);
    return sum;
}

void Totals::add(const Counters& metrics) noexcept {
    for (size_t service = 0; service < service_kinds; ++service) {
        for (size_t i = 0; i < counter_count; ++i)
            values_[service][i] += metrics.get(service_at(service), static_cast<Counter>(i));
        for (size_t i = 0; i < transports; ++i)
            latency_[service][i].add(
                metrics.latency(service_at(service), static_cast<Transport>(i)));
    }
    buffers_used_ += metrics.buffers_used();
}

uint64_t Totals::operator[](Counter counter) const noexcept {
    uint64_t sum = 0;
    for (const auto& row : values_)
        sum += row[static_cast<size_t>(counter)];
    return sum;
}

uint64_t Totals::connections_open(ServiceKind service) const noexcept {
    uint64_t came =
        of(service, Counter::connections_accepted) + of(service, Counter::connections_adopted);
    uint64_t left =
        of(service, Counter::connections_closed) + of(service, Counter::connections_handed_over);
    return came > left ? came - left : 0; // a reader may see a close before its accept
}

uint64_t Totals::connections_open() const noexcept {
    uint64_t sum = 0;
    for (size_t service = 0; service < service_kinds; ++service)
        sum += connections_open(service_at(service));
    return sum;
}

uint64_t Totals::sum(auto&& chosen) const noexcept {
    uint64_t sum = 0;
    for (const CounterRow& row : rows)
        if (chosen(row))
            sum += (*this)[row.counter];
    return sum;
}

uint64_t Totals::accept_errors() const noexcept {
    return sum([](const CounterRow& row) { return row.family == CounterFamily::accept_errors; });
}

uint64_t Totals::connections_over_limits() const noexcept {
    return sum([](const CounterRow& row) { return row.drop == DropStage::over_limit; });
}

uint64_t Totals::datagrams_refused() const noexcept {
    return sum([](const CounterRow& row) {
        return row.transport == Transport::udp && row.drop == DropStage::refused;
    });
}

std::string Totals::describe() const {
    const Totals& t = *this;
    std::string line = fmt::format(
        "connections {} open, {} accepted; bytes {} received, {} sent; datagrams {} received, {} "
        "answered",
        connections_open(), t[Counter::connections_accepted], t[Counter::stream_received_bytes],
        t[Counter::stream_sent_bytes], t[Counter::datagrams_received], t[Counter::datagrams_sent]);
    for (const CounterRow& row : rows)
        if (const uint64_t count = t[row.counter]; count > 0 && !row.text.empty())
            line += fmt::format("; {} {}", count, row.text);
    return line;
}

} // namespace riposte
