// Why there was no answer (cause.h), as the summaries of ping and load say it.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/outcome.h"
#include "client/measure/tcp_info.h"
#include "client/show/table.h"
#include "common/endpoint.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// "3 refused by 192.0.2.7", "2 connected, no answer": one item for each cause, the most frequent
/// first, with those of the `lost` whose cause is not in the tally. Empty where the counts alone
/// say as much: over UDP, if there was only silence.
std::vector<Item> cause_items(const CauseTally& causes, uint64_t lost, Transport transport);

/// "14:05:59Z no answer": of a request that was due then, in seconds since 1970, for a live screen.
/// `cause`: null if it is not known.
std::string failure_text(double due_at, Outcome outcome, const Cause* cause);

/// What the counts of Outcome::local are called.
inline constexpr std::string_view not_sent = "not sent by this machine";

/// "TCP: 31 retransmits of 1020 segments (3%), min rtt 10.1 ms, smoothed 10.4 ms, cubic, worst
/// state recovery", without the label; empty if no connection was read.
std::string describe(const TcpTotals& totals);

/// "does not fit without fragments: the path MTU is 1400"
std::string fragments_text(uint32_t path_mtu);

} // namespace riposte::client
