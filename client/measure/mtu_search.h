// The search for the largest packet that a path carries, by bisection. Sans-I/O: it says which size
// to try next, and learns what became of it.
//
// Sizes are of IP packets, in bytes, with all headers. All sizes up to `largest()` are taken to
// pass and all from `least_failed()` on to fail; each trial moves one of the two. A report of a
// router or of this machine names an MTU: that size is tried next, and if it passes the report is
// believed about the next larger one. Silence says only that this size does not arrive.
#pragma once

#include <cstdint>
#include <optional>

namespace riposte::client {

/// What keeps larger packets from passing.
enum class MtuLimit : uint8_t {
    none,    ///< nothing: the largest size that was asked for passes
    link,    ///< the link of this machine
    router,  ///< a router, which says so (ICMP)
    silence, ///< they are lost, and nothing says why: a black hole
};

class MtuSearch {
public:
    /// Sizes from `least` to `most` are of interest.
    MtuSearch(uint32_t least, uint32_t most) : least_(least), most_(most), failed_(most + 1) {}

    /// The size to try; nothing if the search is over.
    std::optional<uint32_t> next() const;

    void passed(uint32_t size);
    /// It is too big, as a router (or, `by_link`, this machine) reported; `mtu` 0: it named none.
    void too_big(uint32_t size, uint32_t mtu, bool by_link);
    void silent(uint32_t size);

    /// The largest size that passed; 0: not even the least did.
    uint32_t largest() const { return passed_; }
    /// The least size that does not pass.
    uint32_t least_failed() const { return failed_; }
    MtuLimit limit() const { return limit_; }

private:
    void fail_from(uint32_t size, MtuLimit limit);

    uint32_t least_;
    uint32_t most_;
    uint32_t passed_ = 0;
    uint32_t failed_;
    uint32_t reported_ = 0; ///< the MTU that was named last
    MtuLimit limit_ = MtuLimit::none;
};

} // namespace riposte::client
