#include "client/show/causes.h"

#include <string>

#include <fmt/format.h>

namespace riposte::client {

std::vector<Item> cause_items(const CauseTally& causes, uint64_t lost, Transport transport) {
    std::vector<Item> items;
    if (causes.empty() && transport == Transport::udp)
        return items;
    const CauseTally all = causes.with_lost(lost);
    for (const CauseTally::Entry& entry : all.entries()) {
        const bool is_silence = entry.cause.kind == CauseKind::no_answer;
        const std::string text = is_silence && transport == Transport::tcp ? "connected, no answer"
                                                                           : describe(entry.cause);
        items.push_back({fmt::format("{} {}", entry.count, text), Ink::failure});
    }
    if (all.others() > 0)
        items.push_back({fmt::format("{} others", all.others()), Ink::failure});
    return items;
}

std::string fragments_text(uint32_t path_mtu) {
    return fmt::format("does not fit without fragments: the path MTU is {}", path_mtu);
}

} // namespace riposte::client
