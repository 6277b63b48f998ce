#include "client/probe/ring.h"

#include <algorithm>
#include <utility>

namespace riposte::client {

uint64_t ring_place(std::string_view name) {
    uint64_t state = 0xcbf29ce484222325U;
    for (const char c : name)
        state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebU;
    return state ^ (state >> 31);
}

Ring::Ring(std::span<const std::string_view> names) {
    members_.reserve(names.size());
    for (size_t index = 0; index < names.size(); index++)
        members_.push_back(
            {.place = ring_place(names[index]), .name = names[index], .index = index});
    std::ranges::sort(
        members_, {}, [](const Member& member) { return std::pair(member.place, member.name); });
}

std::vector<size_t> Ring::next(std::string_view self, size_t count) const {
    const auto key = [](const Member& member) { return std::pair(member.place, member.name); };
    const auto begin =
        std::ranges::upper_bound(members_, std::pair(ring_place(self), self), {}, key);
    std::vector<size_t> found;
    found.reserve(std::min(count, members_.size()));
    auto at = begin;
    for (size_t seen = 0; seen < members_.size() && found.size() < count; seen++, ++at) {
        if (at == members_.end())
            at = members_.begin();
        if (at->name != self)
            found.push_back(at->index);
    }
    return found;
}

} // namespace riposte::client
