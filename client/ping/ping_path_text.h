// What ping says of the path in text: the IP headers of replies, and which flows are worse than the
// others (flow_verdict.h).
#pragma once

#include "client/ping/ping_account.h"
#include "client/ping/ping_report.h"

#include <cstdint>
#include <span>
#include <string>

namespace riposte::client {

/// " port=41003": the flow of that probe; empty without --flows.
std::string flow_mark(const PingResult& result, uint64_t sequence);

/// " ttl=64", and the traffic class and the congestion mark where there are any: " dscp=ef ecn=ce".
std::string header_marks(const ReplyHeader& header);

/// "replies: ttl 57 to 58 (changed 3 times), dscp be (sent ef)": a line, if there is more to say
/// than each reply's line does.
std::string headers_text(const PingResult& result, const PingStyle& style);

/// "flows 41003, 41019 lose 31%, all others 0%", a line for each finding; with --flows.
std::string flows_text(const PingResult& result, const PingStyle& style);

/// "41003, 41005-41009, 41019".
std::string ports_text(std::span<const uint16_t> ports);

} // namespace riposte::client
