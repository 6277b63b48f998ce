#include "daemon/metrics.h"

#include <array>
#include <iterator>
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
    {Count::connections_refused, "refused"},
    {Count::connections_reset, "reset"},
    {Count::idle_timeouts, "idle timeouts"},
    {Count::write_stall_timeouts, "write stalls"},
    {Count::linger_timeouts, "linger timeouts"},
    {Count::accept_errors, "accept errors"},
    {Count::datagrams_unanswered, "datagrams unanswered"},
    {Count::datagrams_too_long, "answers longer than the question dropped"},
    {Count::datagrams_send_failed, "answers that could not be sent"},
});

} // namespace

void Totals::add(const Metrics& metrics) noexcept {
    for (size_t i = 0; i < values_.size(); ++i)
        values_[i] += metrics.get(static_cast<Count>(i));
}

uint64_t Totals::connections_open() const noexcept {
    uint64_t came = (*this)[Count::connections_accepted] + (*this)[Count::connections_adopted];
    uint64_t left = (*this)[Count::connections_closed] + (*this)[Count::connections_handed_over];
    return came > left ? came - left : 0; // a reader may see who left the later
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
            fmt::format_to(std::back_inserter(line), "; {} {}", t[count], name);
    return line;
}

} // namespace riposte
