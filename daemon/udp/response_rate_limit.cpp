#include "daemon/udp/response_rate_limit.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <new>

#include <sys/mman.h>

namespace riposte {

// Buckets -----------------------------------------------------------------------------------------

void ResponseRateLimit::Rate::set(uint64_t rate, uint64_t at_once) noexcept {
    per_second = rate;
    ns_each = static_cast<double>(second_ns) / static_cast<double>(rate);
    // Rounded up, so that a bucket always holds `at_once` whole replies.
    const double depth = std::ceil(static_cast<double>(at_once) * ns_each);
    depth_ns = static_cast<uint32_t>(std::min(depth, double{second_ns}));
}

void ResponseRateLimit::Bucket::refill(uint32_t elapsed_ms) noexcept {
    const uint64_t elapsed_ns = uint64_t{elapsed_ms} * 1'000'000;
    missing_ns = elapsed_ns >= missing_ns ? 0 : missing_ns - static_cast<uint32_t>(elapsed_ns);
}

uint64_t ResponseRateLimit::Bucket::left(const Rate& rate) const noexcept {
    return missing_ns >= rate.depth_ns ? 0
                                       : (rate.depth_ns - missing_ns) * rate.per_second / second_ns;
}

void ResponseRateLimit::Bucket::take(const Rate& rate, uint64_t count) noexcept {
    const double ns = static_cast<double>(count) * rate.ns_each;
    // left() rounds to whole replies, so the bucket may hold some nanoseconds less than they cost.
    const double available_ns = missing_ns >= rate.depth_ns ? 0 : rate.depth_ns - missing_ns;
    missing_ns += static_cast<uint32_t>(std::min(ns, available_ns));
}

void ResponseRateLimit::Buckets::refill(uint32_t now_ms) noexcept {
    const uint32_t elapsed_ms = now_ms - seen_ms;
    if (elapsed_ms == 0)
        return;
    replies.refill(elapsed_ms);
    bytes.refill(elapsed_ms);
    seen_ms = now_ms;
}

/// How many datagrams of this size both buckets hold.
uint32_t ResponseRateLimit::Buckets::left(
    const Rates& rates, uint32_t datagram_bytes) const noexcept {
    uint64_t count = replies.left(rates.replies);
    if (datagram_bytes > 0)
        count = std::min(count, bytes.left(rates.bytes) / datagram_bytes);
    return static_cast<uint32_t>(std::min<uint64_t>(count, std::numeric_limits<uint32_t>::max()));
}

void ResponseRateLimit::Buckets::take(
    const Rates& rates, uint32_t count, uint64_t total_bytes) noexcept {
    replies.take(rates.replies, count);
    bytes.take(rates.bytes, total_bytes);
}

bool ResponseRateLimit::Buckets::full(uint32_t now_ms) const noexcept {
    Buckets then = *this;
    then.refill(now_ms);
    return then.replies.missing_ns == 0 && then.bytes.missing_ns == 0;
}

bool ResponseRateLimit::Buckets::half_empty() const noexcept {
    return std::max(replies.missing_ns, bytes.missing_ns) > second_ns / 2;
}

// The table ---------------------------------------------------------------------------------------

uint32_t ResponseRateLimit::entries_of_worker(uint32_t workers) noexcept {
    return std::bit_ceil(std::max(entries_of_all_workers / std::max(workers, 1U), ways));
}

size_t ResponseRateLimit::memory_bytes(uint32_t entries) noexcept {
    return size_t{std::bit_ceil(std::max(entries, ways))} * sizeof(Entry);
}

/// Not from the heap: a page of the mapping costs nothing until a prefix uses an entry in it.
std::unique_ptr<ResponseRateLimit::Entry[], ResponseRateLimit::Unmap> ResponseRateLimit::map(
    uint32_t entries) {
    const size_t bytes = memory_bytes(entries);
    void* memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw std::bad_alloc(); // handled with the other allocations of a starting worker
    return {static_cast<Entry*>(memory), Unmap{bytes}};
}

void ResponseRateLimit::Unmap::operator()(Entry* entries) const noexcept {
    ::munmap(entries, bytes);
}

ResponseRateLimit::ResponseRateLimit(uint32_t entries, const Secret& secret)
    : entries_(map(entries)), set_mask_(std::bit_ceil(std::max(entries, ways)) / ways - 1),
      secret_(secret) {
    set(UdpLimits{});
}

void ResponseRateLimit::set(const UdpLimits& share, CidrSet exempt) noexcept {
    prefix_ipv4_bits_ = static_cast<uint8_t>(ipv4_offset_bits + share.prefix_ipv4_bits);
    prefix_ipv6_bits_ = static_cast<uint8_t>(share.prefix_ipv6_bits);
    exempt_ = std::move(exempt);
    of_prefix_.replies.set(share.rate_per_prefix);
    of_prefix_.bytes.set(share.bytes_per_prefix);
    of_all_.replies.set(share.rate);
    of_all_.bytes.set(share.bytes);
    const auto set_newcomers = [](Rate& rate, uint64_t all, uint64_t of_one) {
        const uint64_t half = std::max<uint64_t>(all / 2, 1);
        rate.set(half, std::max(half / 10, of_one));
    };
    set_newcomers(of_newcomers_.replies, share.rate, share.rate_per_prefix);
    set_newcomers(of_newcomers_.bytes, share.bytes, share.bytes_per_prefix);
    last_known_ = false;
}

bool ResponseRateLimit::Entry::replaceable(uint32_t now_ms, bool quick) const noexcept {
    if (tag == 0)
        return true;
    uint32_t patience_ms = established() ? established_idle_ms : newcomer_idle_ms;
    if (quick && sightings <= 1)
        patience_ms = once_idle_ms;
    return idle_ms(now_ms) > patience_ms && buckets.full(now_ms);
}

ResponseRateLimit::Entry& ResponseRateLimit::find(
    const SourceKey& prefix, uint32_t now_ms) noexcept {
    const uint64_t hash = siphash(secret_, prefix);
    const uint64_t tag = std::max<uint64_t>(hash, 1);
    const std::span set(&entries_[(hash & set_mask_) * ways], ways);
    Entry* place = nullptr;
    for (uint32_t way = 0; way < ways; ++way) {
        const bool replaceable = set[way].replaceable(now_ms, way < quick_ways);
        if (set[way].tag == tag && !replaceable)
            return set[way];
        if (replaceable && place == nullptr)
            place = &set[way];
    }
    if (place == nullptr)
        return crowded_;
    *place = {.tag = tag, .buckets = {.seen_ms = now_ms}};
    return *place;
}

void ResponseRateLimit::look_up(const SourceKey& source, uint32_t now_ms) noexcept {
    const bool again = last_known_ && source == last_;
    last_ = source;
    last_known_ = true;
    if (again && entry_ == nullptr)
        return;
    if (!again && exempt_.longest_match(source) != CidrSet::none) {
        entry_ = nullptr;
        return;
    }
    // No other source was looked up since, so the entry still belongs to this one, unless it was
    // idle for so long that it could be replaced.
    if (again && entry_ != &crowded_ && entry_->idle_ms(now_ms) <= once_idle_ms)
        return;
    entry_ =
        &find(first_bits(source, is_ipv4(source) ? prefix_ipv4_bits_ : prefix_ipv6_bits_), now_ms);
}

// Decisions ---------------------------------------------------------------------------------------

ResponseRateLimit::Grant ResponseRateLimit::ask(
    const SourceKey& source, uint32_t datagrams, uint32_t datagram_bytes,
    uint64_t now_ms) noexcept {
    const auto now = static_cast<uint32_t>(now_ms);
    look_up(source, now);
    if (entry_ == nullptr)
        return {datagrams, DropReason::rate};
    Entry& entry = *entry_;
    const bool is_crowded = &entry == &crowded_;
    if (!is_crowded && !entry.established() &&
        (entry.sightings == 0 || entry.buckets.seen_ms != now))
        ++entry.sightings;
    entry.buckets.refill(now);
    newcomers_.refill(now);
    all_.refill(now);
    as_newcomer_ = !entry.established() || entry.buckets.half_empty();

    Grant grant{datagrams, DropReason::rate};
    const auto at_most = [&](uint32_t count, DropReason refusal) {
        if (count < grant.datagrams)
            grant = {count, refusal};
    };
    at_most(
        entry.buckets.left(of_prefix_, datagram_bytes),
        is_crowded ? DropReason::crowded : DropReason::prefix_rate);
    if (as_newcomer_)
        at_most(newcomers_.left(of_newcomers_, datagram_bytes), DropReason::newcomer_rate);
    at_most(all_.left(of_all_, datagram_bytes), DropReason::rate);
    return grant;
}

void ResponseRateLimit::charge(uint32_t replies, uint64_t bytes) noexcept {
    if (entry_ == nullptr || replies == 0)
        return;
    entry_->buckets.take(of_prefix_, replies, bytes);
    if (as_newcomer_)
        newcomers_.take(of_newcomers_, replies, bytes);
    all_.take(of_all_, replies, bytes);
}

} // namespace riposte
