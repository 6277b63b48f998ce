// Who probes whom, without a controller: names stand on a ring at places that a hash gives them,
// and each probes the next ones. So each host is probed by as many as it probes, and when a name
// goes, only its own neighbours get others: of the pairs that it leaves behind at most twice the
// number of neighbours change.
//
// The places are a contract between hosts: they are the same on each machine and in each version,
// or a host would be probed by fewer than its neighbours believe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

/// FNV-1a, and the finalizer of SplitMix64 behind it: near names have places far apart.
uint64_t ring_place(std::string_view name);

class Ring {
public:
    /// The names differ from each other, and outlive the ring.
    explicit Ring(std::span<const std::string_view> names);

    /// The next `count` names behind that of `self`, which need not be on the ring and is never
    /// among them, in their order; as indices of the names. Fewer if the ring has no more.
    std::vector<size_t> next(std::string_view self, size_t count) const;

private:
    struct Member {
        uint64_t place;
        std::string_view name; ///< decides between equal places
        size_t index;
    };

    std::vector<Member> members_; ///< in the order of the ring
};

} // namespace riposte::client
