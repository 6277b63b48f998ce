// One row for each RefusalReason: its counter, whose row in telemetry/counters.cpp has the token
// for metrics and journal (RIPOSTE_REASON), and the words for the log line.
#pragma once

#include "daemon/tcp/refusal_reason.h"
#include "daemon/telemetry/counters.h"

#include <array>
#include <cassert>
#include <cstddef>
#include <string_view>

namespace riposte {

struct RefusalRow {
    RefusalReason reason;
    Counter counter;
    std::string_view why; ///< "the limit 'connections' is reached"
};

inline constexpr auto refusal_rows = std::to_array<RefusalRow>({
    {RefusalReason::denied, Counter::connections_denied, "'allow' and 'deny' do not let it in"},
    {RefusalReason::full, Counter::connections_refused, "the limit 'connections' is reached"},
    {RefusalReason::over_source, Counter::connections_over_source,
     "its source has reached 'connections_per_source'"},
    {RefusalReason::over_listener, Counter::connections_over_listener,
     "its listener has reached its 'connections'"},
    {RefusalReason::no_service, Counter::connections_refused, "its service is no longer there"},
    {RefusalReason::evicted, Counter::connections_evicted, "the limit 'connections' is reached"},
    {RefusalReason::stalled, Counter::stalls_relieved,
     "it reads nothing, and 'buffer_memory' is used up"},
});

static_assert(
    [] {
        for (size_t i = 0; i < refusal_rows.size(); ++i)
            if (static_cast<size_t>(refusal_rows[i].reason) != i || refusal_rows[i].why.empty())
                return false;
        return refusal_rows.size() == static_cast<size_t>(RefusalReason::end);
    }(),
    "one row for each reason, in their order");

constexpr const RefusalRow& row_of(RefusalReason reason) {
    assert(reason < RefusalReason::end);
    return refusal_rows[static_cast<size_t>(reason)];
}
inline std::string_view token_of(RefusalReason reason) {
    return row_of(row_of(reason).counter).token;
}

} // namespace riposte
