#include "daemon/telemetry/access_log.h"

#include "common/text.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace riposte {
namespace {

constexpr uint32_t interval_ms = 1000;

/// Exactly this many: a vector that grows by itself may take twice as much.
void make_room(auto& vector, size_t size) {
    vector.reserve(size);
    vector.resize(size);
}

} // namespace

AccessLogConfig worker_share(const AccessLogConfig& config, uint32_t workers) {
    AccessLogConfig share = config;
    share.rate = std::max(config.rate / workers, 1u);
    return share;
}

uint64_t AccessLog::memory_bytes(const AccessLogConfig& share, uint64_t slots) noexcept {
    return share.connections ? slots * (sizeof(Record) + share.bytes) : 0;
}

void AccessLog::reserve(const AccessLogConfig& share, uint32_t slots) {
    give_up();
    if (!share.connections)
        return;
    const bool anew = share.connections != config_.connections || share.bytes != config_.bytes;
    records_room_.reserve(anew ? std::vector<Record>() : records_, slots);
    contents_room_.reserve(
        anew ? std::vector<std::byte>() : contents_, size_t{slots} * share.bytes);
}

void AccessLog::give_up() noexcept {
    records_room_.give_up();
    contents_room_.give_up();
}

void AccessLog::set(const AccessLogConfig& share, uint32_t slots) {
    if (share == config_) {
        grow(slots);
        return;
    }
    tell_left_out();
    // The stored payload bytes have another size now and start empty.
    if (share.connections != config_.connections || share.bytes != config_.bytes) {
        records_ = {};
        contents_ = {};
    }
    limit_ = log::Limit(share.rate, interval_ms);
    config_ = share;
    seen_ = 0;
    grow(slots);
}

void AccessLog::grow(uint32_t slots) {
    if (!config_.connections)
        return;
    records_room_.take_over(records_);
    contents_room_.take_over(contents_);
    if (slots <= records_.size())
        return;
    make_room(records_, slots);
    make_room(contents_, size_t{slots} * config_.bytes);
}

void AccessLog::opened(uint32_t slot, uint64_t now_ms) noexcept {
    if (slot >= records_.size()) [[likely]]
        return;
    assert(!records_[slot].open);
    records_[slot] = {.since_ms = now_ms, .open = true};
}

void AccessLog::add_received(
    Record& record, uint32_t slot, std::span<const std::byte> bytes) noexcept {
    if (record.received_bytes < config_.bytes) {
        const auto before = static_cast<size_t>(record.received_bytes);
        const auto first = bytes.first(std::min(bytes.size(), config_.bytes - before));
        std::ranges::copy(
            first,
            contents_.begin() + static_cast<ptrdiff_t>(size_t{slot} * config_.bytes + before));
    }
    record.received_bytes += bytes.size();
}

void AccessLog::ended(
    uint32_t slot, const AccessPeer& peer, std::string_view how, uint64_t now_ms) {
    assert(told_of(slot));
    Record& record = records_[slot];
    record.open = false;
    if (!may_write(now_ms))
        return;
    const size_t kept = std::min<uint64_t>(record.received_bytes, config_.bytes);
    const std::span all(contents_);
    const std::string content =
        shown(all.subspan(size_t{slot} * config_.bytes, kept), record.received_bytes);
    const std::string_view end = record.why.empty() ? how : record.why;
    const std::string address = to_string(peer.address);
    const uint64_t duration_ms = now_ms - record.since_ms;
    log::info(
        log::Event::access_connection,
        {{"RIPOSTE_PEER", address},
         {"RIPOSTE_LISTENER", std::string(peer.listener)},
         {"RIPOSTE_SERVICE", std::string(to_string(peer.service))},
         {"RIPOSTE_RECEIVED_BYTES", fmt::to_string(record.received_bytes)},
         {"RIPOSTE_SENT_BYTES", fmt::to_string(record.sent_bytes)},
         {"RIPOSTE_DURATION_MS", fmt::to_string(duration_ms)},
         {"RIPOSTE_END", std::string(end)},
         {"RIPOSTE_CONTENT", content}},
        "access: {} ({}): {} bytes in, {} out, {}.{:03} s, {}: \"{}\"", address, peer.listener,
        record.received_bytes, record.sent_bytes, duration_ms / 1000, duration_ms % 1000, end,
        content);
}

uint32_t AccessLog::sample(uint32_t count) noexcept {
    const uint32_t every = config_.datagrams_every;
    const uint32_t first = every - 1 - seen_; // this many come before it
    seen_ = static_cast<uint32_t>((uint64_t{seen_} + count) % every);
    return std::min(first, count);
}

void AccessLog::datagram(
    const AccessPeer& peer, std::span<const std::byte> bytes, bool refused, uint64_t now_ms) {
    if (!may_write(now_ms))
        return;
    const std::string content =
        shown(bytes.first(std::min<size_t>(bytes.size(), config_.bytes)), bytes.size());
    const std::string address = to_string(peer.address);
    const std::string_view end = refused ? "refused" : "served";
    log::info(
        log::Event::access_datagram,
        {{"RIPOSTE_PEER", address},
         {"RIPOSTE_LISTENER", std::string(peer.listener)},
         {"RIPOSTE_SERVICE", std::string(to_string(peer.service))},
         {"RIPOSTE_RECEIVED_BYTES", fmt::to_string(bytes.size())},
         {"RIPOSTE_END", std::string(end)},
         {"RIPOSTE_CONTENT", content}},
        "access: {} ({}): datagram of {} bytes, {}: \"{}\"", address, peer.listener, bytes.size(),
        end, content);
}

/// Escaped, and "..." in place of bytes that are not shown; the line has the size.
std::string AccessLog::shown(std::span<const std::byte> bytes, uint64_t of) const {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return escape(text, text.size()) + (of > bytes.size() ? "..." : "");
}

bool AccessLog::may_write(uint64_t now_ms) noexcept {
    uint64_t before = 0; // not reported, but required by the call
    if (!log::enabled(LogLevel::info))
        return false;
    if (limit_.allow(now_ms, before))
        return true;
    if (left_out_++ == 0)
        tell_ms_ = now_ms + interval_ms;
    return false;
}

void AccessLog::tell_left_out() {
    tell_ms_ = TimerWheel::never;
    if (left_out_ == 0)
        return;
    const uint64_t count = std::exchange(left_out_, 0);
    log::info(
        log::Event::access_left_out, {{"RIPOSTE_LEFT_OUT", fmt::to_string(count)}},
        "access: {} line{} left out", count, count == 1 ? "" : "s");
}

} // namespace riposte
