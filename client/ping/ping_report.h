// What `riposte ping` prints: a line an answer, summaries, the comparison of several endpoints, and
// the JSON document. Pure: results in, text out. Lines of summaries and tables are at most as wide
// as the style says where the names in them allow it, and end with a newline.
#pragma once

#include "client/options/options.h"
#include "client/ping/ping_account.h"
#include "client/ping/ping_result.h"
#include "client/ping/probe_failure.h"
#include "client/show/table.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace riposte::client {

/// How the lines look.
struct PingStyle {
    bool several = false; ///< more than one endpoint: its name stands in front of each line
    bool color = false;
    size_t columns = text_columns; ///< of summaries and tables, at most

    Look look() const { return {color, columns}; }
};

/// "PING udp://localhost:7001 (127.0.0.1:7001): 56 bytes of payload, every 1s"
std::string ping_header(const PingResult& result, Look look = {});

/// "56 bytes from 127.0.0.1:7001: seq=3 ttl=64 time=0.0621 ms", with what is to be said about it
/// behind: connect=0.1 ms, (duplicate), (out of order), (late), (sent 12.3 ms late), corrupted at
/// byte 17
/// ...
std::string ping_line(
    const PingResult& result, const ProbeOutcome& arrival, const PingStyle& style);

/// A probe that ended otherwise: "no answer to seq=4 within 1s", "connected in 0.28 ms, no answer
/// to seq=4 within 1s", "seq=4 refused in 0.21 ms by 192.0.2.7", ...
std::string ping_failure_line(
    const PingResult& result, const ProbeFailure& failure, const PingStyle& style);

/// Printed once: that the service is not an echo.
std::string ping_other_service_line(const PingResult& result, const PingStyle& style);

/// All figures of one endpoint. `interim`: the short form that SIGQUIT asks for, one line.
std::string ping_summary(const PingResult& result, const PingStyle& style);
std::string ping_interim(const PingResult& result, const PingStyle& style);

/// "2 outages; the longest: 12 probes in a row, 1.2 s from 2025-03-09 14:05:59 UTC"; empty if there
/// was none.
std::string outages_text(const PingResult& result, const PingStyle& style);

/// A row an endpoint: loss, min, median, p95, p99, max, mean ipdv.
std::string ping_comparison(std::span<const PingResult* const> results, const PingStyle& style);

/// An endpoint that has no address, and why in one line.
struct NotMeasured {
    std::string name; ///< the endpoint's canonical spelling
    std::string error;
};

/// The document "riposte/ping/2" (packaging/schema/riposte-ping-2.schema.json).
std::string ping_json(
    std::span<const PingResult* const> results, const FailIf& fail_if, Exit exit,
    std::span<const NotMeasured> missing = {});

} // namespace riposte::client
