// What the summary says of outages (outages.h).
#include "client/ping/ping_report.h"
#include "client/show/figures.h"
#include "client/show/table.h"

#include <string>
#include <vector>

#include <fmt/format.h>

namespace riposte::client {

std::string outages_text(const PingResult& result, const PingStyle& style) {
    const auto longest = result.outages.longest();
    if (!longest)
        return "";
    const uint64_t count = result.outages.count();
    const std::string began = utc_clock(result.wall_seconds(longest->began_ns));
    const std::string when =
        longest->is_over
            ? fmt::format("{} from {}", elapsed_time(longest->ended_ns - longest->began_ns), began)
            : fmt::format("from {} to the end", began);
    const std::vector<Item> items{
        {count == 1 ? "1 outage:" : fmt::format("{} outages; the longest:", count), Ink::failure,
         ""},
        {fmt::format("{} probes in a row", longest->probes)},
        {when}};
    return flow("", items, style.look());
}

} // namespace riposte::client
