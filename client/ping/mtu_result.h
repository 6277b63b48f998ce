// What a search for the path MTU has found, and how it is printed.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/mtu_search.h"
#include "client/options/path_options.h"
#include "client/ping/ping_report.h"
#include "common/error.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace riposte::client {

/// One size, and what became of it. Sizes are of IP packets with all headers, in bytes.
struct MtuTrial {
    enum class Fate : uint8_t { passed, too_big, silent };

    uint32_t bytes = 0;
    Fate fate = Fate::silent;
    uint32_t probes = 0; ///< sent of that size
    uint64_t rtt_ns = 0; ///< passed
    Cause cause = {};    ///< too big
};

struct MtuResult {
    std::string name;    ///< the endpoint's canonical spelling
    std::string address; ///< the one that was asked
    PathOptions path;
    double started_at = 0;      ///< seconds since 1970
    uint32_t header_bytes = 0;  ///< of IP and UDP
    uint32_t forward_bytes = 0; ///< the largest that passed; 0: none did
    MtuLimit limit = MtuLimit::none;
    Cause limit_cause = {};         ///< of a link or a router
    bool is_echo = true;            ///< replies are as long as requests
    uint32_t backward_bytes = 0;    ///< the largest reply that came whole
    uint32_t backward_fragment = 0; ///< the largest fragment of a reply; 0: none came in fragments
    std::vector<MtuTrial> trials;
    std::string error; ///< why there is no result, or only a part of one
};

/// Is the direction known in which packets that are larger are lost? A reply may be lost as well as
/// its request; not if the peer sends long ones in fragments, or only short ones.
bool is_forward_known(const MtuResult& result);

/// "PATH MTU udp://server:7 (203.0.113.2:7)"
std::string mtu_header(const MtuResult& result, const PingStyle& style);
/// "1500 bytes: too big: the path MTU is 1400 (ICMP from 198.51.100.1)"
std::string mtu_trial_line(const MtuTrial& trial, const PingStyle& style);
/// What is known of each direction, and how: a line each.
std::string mtu_summary(const MtuResult& result, const PingStyle& style);

/// The document "riposte/mtu/1" (packaging/schema/riposte-mtu-1.schema.json).
std::string mtu_json(
    std::span<const MtuResult> results, Exit exit, std::span<const NotMeasured> missing);

} // namespace riposte::client
