// What the JSON documents of ping and load share. Times are numbers of seconds; what was not
// measured is left out, never null; keys are described in packaging/schema.
#pragma once

#include "client/measure/cause.h"
#include "client/measure/fail_if.h"
#include "client/measure/histogram.h"
#include "client/measure/outcome.h"
#include "client/measure/tcp_info.h"
#include "client/options/path_options.h"
#include "client/show/figures.h"
#include "common/error.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// Keys stay in the order in which they are set.
using Json = nlohmann::ordered_json;

inline double to_seconds(uint64_t nanoseconds) {
    return static_cast<double>(nanoseconds) / 1e9;
}

/// The keys that every document begins with.
Json document_head(std::string_view schema, double started_at, Exit exit);

/// Sets `document[key]` to all figures of the histogram and its buckets, unless it is empty; a
/// percentile that does not exist is absent.
void set_distribution(Json& document, std::string_view key, const Histogram& histogram);
/// The same without the buckets, for documents of a line each.
void set_figures(Json& document, std::string_view key, const Histogram& histogram);
/// {sent, answered, lost, ..., local}: the fates that are decided.
Json counts_json(const OutcomeCounts& counts);
/// Sets it if there is a value, which is finite.
void set_number(Json& document, std::string_view key, std::optional<double> value);

/// [{kind, type, code, from, mtu, text, count}, ...], with those of the `lost` whose cause is not
/// in the tally, and "others" in a last one.
Json causes_json(const CauseTally& causes, uint64_t lost);
/// {connections, retransmits, ...}
Json tcp_json(const TcpTotals& totals);

/// Sets `document["path"]` to the options in force that say where packets go, unless there are
/// none.
void set_path(Json& document, const PathOptions& path);

/// [{condition, value, met}, ...]
Json checks_json(const std::vector<Check>& checks);

/// One line, with a newline at its end. Bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& document);

} // namespace riposte::client
