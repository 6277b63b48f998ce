// How much is answered to whom: token buckets for each prefix of addresses, and one for all.
//
// A bucket holds one second of its rate, so who was quiet may ask for a second's worth at once. It
// is kept as the time until it is full again. Answers and their bytes have a bucket each, and both
// are charged with what is really sent. That of the newcomers is shallower: a tenth of a second, or
// what one prefix may ask for at once. A flood that began with a second's worth of answers would
// get them while those who were there wait behind it, until the socket's queue is full.
//
//   prefix      a prefix (/24, /56) has an Entry with its own two buckets: `rate_per_prefix`,
//               `bytes_per_prefix`. Addresses within a prefix share, because who has one of them
//               can have them all.
//   all         `rate`, `bytes`: what leaves altogether.
//   newcomers   half of that. A prefix is a newcomer until it was seen in `established_sightings`
//               different milliseconds, and whoever has used up more than half of its own bucket
//               counts as one. Only the established may use the other half.
//
// The table has a fixed size, `ways` entries in each set. Which set a prefix belongs to is a keyed
// hash (SipHash) with a key that nobody outside knows, so nobody can choose whom to crowd out. An
// entry is given away only when its buckets are full and it was idle for `newcomer_idle_ms`, an
// established one for `established_idle_ms`: nothing is forgotten that would have refused
// something, and no live entry is ever evicted, whoever asks. The first `quick_ways` of a set are
// quicker with a prefix that was seen only once, as those are that are forged at random:
// `once_idle_ms`. A newcomer that finds no place shares one entry, with the rate of one prefix,
// with all others like it; it tries again with each datagram.
//
// What is promised:
//   - To no prefix goes more than its rate (and what it gets of the shared entry: as much again at
//     most), whatever else is forged to make the table forget.
//   - A flood from sources that are forged at random takes nothing from those who were there: it
//     consists of newcomers, and these have the other half of the total. Established prefixes that
//     keep to half of what `rate` says, all together, lose nothing.
//   - Who begins during the flood becomes established while it lasts, because the forged ones do
//     not come twice. For the places of a set that become free, all come as often as they ask; with
//     a million forged datagrams a second, and the table's 65,536 entries, one in six gets one. Who
//     asks a hundred times a second has a place after half a tenth of a second, keeps it, and is
//     established in another tenth (test_rate_limit.cpp measures it). Who asks a few times a second
//     needs some seconds, in one of the other ways. Below 30,000 forged ones a second all find a
//     place at once, and lose nothing either.
// What is not promised:
//   - Who forges a choice of prefixes, each often enough, looks like as many established ones. They
//     share what there is with the honest as anybody would; a flood that is that large in sum is
//     refused in sum.
//   - Who asks less than once in `established_idle_ms` is a newcomer each time.
//
// Reads no clock: the time comes in, in milliseconds. Allocates when it is made, and never again;
// memory that no prefix has used is not touched.
#pragma once

#include "daemon/acl/cidr.h"
#include "daemon/acl/source_key.h"
#include "daemon/udp/drop_reason.h"
#include "daemon/udp/udp_limits.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace riposte {

class ResponseRateLimit {
public:
    static constexpr uint32_t ways = 8;
    static constexpr uint32_t entries_of_all_workers = 65'536;
    static constexpr uint32_t established_sightings = 8;
    static constexpr uint32_t quick_ways = 4;
    static constexpr uint32_t once_idle_ms = 200;
    static constexpr uint32_t newcomer_idle_ms = 2'000;
    static constexpr uint32_t established_idle_ms = 10'000;

    using Secret = std::array<uint64_t, 2>;
    static Secret random_secret();

    /// `entries` is rounded up to a power of two, at least one set.
    explicit ResponseRateLimit(uint32_t entries, const Secret& secret = random_secret());
    /// How many entries each of `workers` has, so that all have entries_of_all_workers or more.
    static uint32_t entries_of_worker(uint32_t workers) noexcept;
    /// Bytes of a table with so many entries.
    static size_t memory_bytes(uint32_t entries) noexcept;

    /// Rates as from now on; what was charged stays charged.
    void set(const UdpLimits& share) { set(share, CidrSet(share.rate_exempt)); }
    /// `exempt`: that of the share; then nothing is allocated.
    void set(const UdpLimits& share, CidrSet exempt) noexcept;

    struct Grant {
        uint32_t datagrams; ///< may be answered, the first ones
        DropReason refusal; ///< why not the others, if there are others
    };
    /// `datagrams` came from `source`, of up to `datagram_bytes` each: how many may be answered?
    Grant ask(
        const SourceKey& source, uint32_t datagrams, uint32_t datagram_bytes,
        uint64_t now_ms) noexcept;
    /// What became of the grant before: so many answers, with so many bytes in all.
    void charge(uint32_t answers, uint64_t bytes) noexcept;

private:
    static constexpr uint32_t second_ns = 1'000'000'000;

    struct Rate {
        uint64_t per_second = 0;
        double ns_each = 0;
        uint32_t depth_ns = second_ns; ///< what a bucket holds, as the time in which it fills

        void set(uint64_t rate) noexcept { set(rate, rate); }
        void set(uint64_t rate, uint64_t at_once) noexcept;
    };
    /// What is missing in a bucket, as the time in which it comes back.
    struct Bucket {
        uint32_t missing_ns = 0;

        void refill(uint32_t elapsed_ms) noexcept;
        uint64_t left(const Rate& rate) const noexcept;
        void take(const Rate& rate, uint64_t count) noexcept;
    };
    struct Rates {
        Rate answers{};
        Rate bytes{};
    };
    struct Buckets {
        Bucket answers{};
        Bucket bytes{};
        uint32_t seen_ms = 0; ///< the clock's low 32 bits: all that is compared is differences

        void refill(uint32_t now_ms) noexcept;
        uint32_t left(const Rates& rates, uint32_t datagram_bytes) const noexcept;
        void take(const Rates& rates, uint32_t count, uint64_t total_bytes) noexcept;
        bool half_empty() const noexcept;
        bool full(uint32_t now_ms) const noexcept;
    };
    /// All zero: free.
    struct Entry {
        uint64_t tag = 0; ///< the prefix's hash; never 0
        Buckets buckets{};
        uint32_t sightings = 0; ///< up to established_sightings

        bool established() const noexcept { return sightings >= established_sightings; }
        uint32_t idle_ms(uint32_t now_ms) const noexcept { return now_ms - buckets.seen_ms; }
        bool replaceable(uint32_t now_ms, bool quick) const noexcept;
    };
    struct Unmap {
        size_t bytes = 0;
        void operator()(Entry* entries) const noexcept;
    };

    uint64_t hash(const SourceKey& prefix) const noexcept;
    void look_up(const SourceKey& source, uint32_t now_ms) noexcept;
    Entry& find(const SourceKey& prefix, uint32_t now_ms) noexcept;

    static std::unique_ptr<Entry[], Unmap> map(uint32_t entries);

    std::unique_ptr<Entry[], Unmap> entries_;
    uint32_t set_mask_;
    Secret secret_;
    uint8_t prefix_ipv4_bits_ = 0; ///< of the key
    uint8_t prefix_ipv6_bits_ = 0;
    CidrSet exempt_;

    Rates of_prefix_;
    Rates of_newcomers_;
    Rates of_all_;
    Entry crowded_; ///< what all share that found no place
    Buckets newcomers_;
    Buckets all_;

    // Who asked last, because who asks often asks again next.
    SourceKey last_{};
    Entry* entry_ = nullptr; ///< null: exempt
    bool last_known_ = false;
    bool as_newcomer_ = false; ///< the last grant
};

} // namespace riposte
