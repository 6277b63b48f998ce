// What ping says of a STAMP reflector, beside what it says of every endpoint: pure, results in,
// text or JSON out.
#pragma once

#include "client/ping/ping_report.h"
#include "client/ping/ping_result.h"
#include "client/show/json.h"

#include <string>
#include <string_view>

namespace riposte::client {

/// Losses by direction, hops, the reflector, the clocks and one-way delays: lines of the summary.
std::string stamp_text(const PingResult& result, const PingStyle& style);

/// Why there is no proper answer, if the improper ones show it; else empty.
std::string_view why_no_stamp(const StampResult& stamp);

/// A delay or a lead with its bound: "12.1 ms +- 3.0". The bound is rounded up.
std::string bounded_milliseconds(double nanoseconds, double bound_ns);

/// The object "stamp" of an endpoint (packaging/schema/riposte-ping-2.schema.json).
Json stamp_json(const PingResult& result);

} // namespace riposte::client
