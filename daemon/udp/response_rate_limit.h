// Limits how many replies, and how many bytes of them, leave for each prefix of addresses and in
// total: token buckets.
//
// A bucket holds one second of its rate, so a prefix that was quiet may get a second's worth at
// once. It is stored as the time until it is full again. Replies and their bytes have a bucket
// each, and both are charged with what is really sent. The buckets of new prefixes hold less: a
// tenth of a second, or what one prefix may get at once. Otherwise a flood would begin with a
// second's worth of replies, while established prefixes wait behind it until the socket's queue is
// full.
//
//   prefix      A prefix (/24, /56) has an Entry with its own two buckets: `rate_per_prefix`,
//               `bytes_per_prefix`. Addresses within a prefix share them, because an attacker that
//               has one of the addresses can often use them all.
//   all         `rate`, `bytes`: the total.
//   new         Half of the total. A prefix is new until it was seen in `established_sightings`
//               different milliseconds; later it counts as new whenever it has used more than half
//               of its own bucket. Only established prefixes may use the other half.
//
// The table has a fixed size, `ways` entries in each set. A keyed hash (SipHash) with a secret key
// selects the set of a prefix, so an attacker cannot choose which prefixes it displaces. An entry
// is replaced only when its buckets are full and it was idle for `newcomer_idle_ms`, an established
// one for `established_idle_ms`: the table forgets nothing that would have refused a reply, and
// never evicts a live entry. The first `quick_ways` of a set replace a prefix that was seen only
// once, as randomly forged ones are, already after `once_idle_ms`. All new prefixes without a place
// share one entry, with the rate of one prefix; each tries again with its next datagram.
//
// Promises:
//   - No prefix gets more than its rate (plus its part of the shared entry: at most as much again),
//     however many sources are forged to make the table forget.
//   - A flood from randomly forged sources takes nothing from established prefixes: it consists of
//     new prefixes, which cannot use the other half of the total. Established prefixes that
//     together need at most half of `rate` lose nothing.
//   - A prefix that begins during the flood becomes established while the flood lasts, because
//     forged sources do not return. New prefixes compete for free places in proportion to their
//     datagrams; with a million forged datagrams a second and the table's 65,536 entries, one in
//     six gets a place. A prefix with a hundred requests a second has a place after half a tenth of
//     a second, keeps it, and is established after another tenth (test_rate_limit.cpp measures it).
//     A prefix with a few requests a second needs some seconds and gets one of the other ways.
//     Below 30,000 forged datagrams a second every prefix finds a place at once and loses nothing.
// Not promised:
//   - An attacker that forges a selection of prefixes, each often enough, looks like as many
//     established ones. They share the rates with honest prefixes on equal terms; if such a flood
//     is large in total, the total rate refuses it.
//   - A prefix with less than one request in `established_idle_ms` is new each time.
//
// Reads no clock: the caller passes the time, in milliseconds. Allocates only when constructed;
// memory that no prefix has used is not touched.
#pragma once

#include "common/siphash.h"
#include "daemon/acl/cidr.h"
#include "daemon/acl/source_key.h"
#include "daemon/udp/drop_reason.h"
#include "daemon/udp/udp_limits.h"

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

    using Secret = HashSecret;

    /// `entries` is rounded up to a power of two, at least one set.
    explicit ResponseRateLimit(uint32_t entries, const Secret& secret = random_secret());
    /// The entries of each of `workers`; together they have at least entries_of_all_workers.
    static uint32_t entries_of_worker(uint32_t workers) noexcept;
    /// Size of a table with `entries` entries.
    static size_t memory_bytes(uint32_t entries) noexcept;

    /// Sets the rates from now on; earlier charges stay.
    void set(const UdpLimits& share) { set(share, CidrSet(share.rate_exempt)); }
    /// The same without allocating; `exempt` is made from the share's rate_exempt.
    void set(const UdpLimits& share, CidrSet exempt) noexcept;

    struct Grant {
        uint32_t datagrams; ///< the first so many may get replies
        DropReason refusal; ///< why the others may not, if there are others
    };
    /// `datagrams` datagrams of up to `datagram_bytes` bytes each came from `source`: how many may
    /// get replies? Nothing is charged yet.
    Grant ask(
        const SourceKey& source, uint32_t datagrams, uint32_t datagram_bytes,
        uint64_t now_ms) noexcept;
    /// Charges the source of the last ask() with the replies that were made, and their bytes in
    /// total.
    void charge(uint32_t replies, uint64_t bytes) noexcept;

private:
    static constexpr uint32_t second_ns = 1'000'000'000;

    struct Rate {
        uint64_t per_second = 0;
        double ns_each = 0;
        uint32_t depth_ns = second_ns; ///< a bucket's capacity, as the time in which it fills

        void set(uint64_t rate) noexcept { set(rate, rate); }
        void set(uint64_t rate, uint64_t at_once) noexcept;
    };
    /// How much is missing in a bucket, as the time until it is full.
    struct Bucket {
        uint32_t missing_ns = 0;

        void refill(uint32_t elapsed_ms) noexcept;
        uint64_t left(const Rate& rate) const noexcept;
        void take(const Rate& rate, uint64_t count) noexcept;
    };
    struct Rates {
        Rate replies{};
        Rate bytes{};
    };
    struct Buckets {
        Bucket replies{};
        Bucket bytes{};
        uint32_t seen_ms = 0; ///< the low 32 bits of the clock: only differences matter

        void refill(uint32_t now_ms) noexcept;
        uint32_t left(const Rates& rates, uint32_t datagram_bytes) const noexcept;
        void take(const Rates& rates, uint32_t count, uint64_t total_bytes) noexcept;
        bool half_empty() const noexcept;
        bool full(uint32_t now_ms) const noexcept;
    };
    /// One prefix; all zero if the place is free.
    struct Entry {
        uint64_t tag = 0; ///< the prefix's hash; never 0
        Buckets buckets{};
        uint32_t sightings = 0; ///< milliseconds in which it was seen, up to established_sightings

        bool established() const noexcept { return sightings >= established_sightings; }
        uint32_t idle_ms(uint32_t now_ms) const noexcept { return now_ms - buckets.seen_ms; }
        bool replaceable(uint32_t now_ms, bool quick) const noexcept;
    };
    struct Unmap {
        size_t bytes = 0;
        void operator()(Entry* entries) const noexcept;
    };

    void look_up(const SourceKey& source, uint32_t now_ms) noexcept;
    Entry& find(const SourceKey& prefix, uint32_t now_ms) noexcept;

    static std::unique_ptr<Entry[], Unmap> map(uint32_t entries);

    std::unique_ptr<Entry[], Unmap> entries_;
    uint32_t set_mask_;
    Secret secret_;
    uint8_t prefix_ipv4_bits_ = 0; ///< length within the key (source_key.h)
    uint8_t prefix_ipv6_bits_ = 0; ///< the same
    CidrSet exempt_;

    Rates of_prefix_;
    Rates of_newcomers_;
    Rates of_all_;
    Entry crowded_; ///< shared by all prefixes without a place
    Buckets newcomers_;
    Buckets all_;

    // The last source, because a busy source is likely to be the next one, too.
    SourceKey last_{};
    Entry* entry_ = nullptr; ///< of `last_`; null: exempt
    bool last_known_ = false;
    bool as_newcomer_ = false; ///< the last grant counted as a new prefix's
};

} // namespace riposte
