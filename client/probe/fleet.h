// All targets of a prober and their probes: who is probed, what was sent, what an arrival means,
// and the picture of it all. Sans-I/O: it is given times, bytes and addresses, so that the property
// test runs it beside a naive model.
//
// A target is known by its slot while it is here, and by its session on the wire: the slot's number
// with a generation above it, since a slot is used again. The upper half of a probe's sequence
// number on the wire is the run's own random number: answers to an earlier process with the same
// source ports are strays.
//
// Probes expire in the order in which they were sent, since all wait as long: one queue serves all
// targets.
#pragma once

#include "client/probe/figures.h"
#include "client/probe/selection.h"
#include "client/probe/target_books.h"
#include "common/address.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace riposte::client {

struct FleetSettings {
    std::vector<ProbeTransport> transports = {ProbeTransport::udp};
    uint32_t payload_bytes = 64; ///< at least probe_header_bytes
    uint64_t timeout_ns = 2'000'000'000;
    size_t window = 64;                  ///< books_window()
    uint64_t grace_ns = 600'000'000'000; ///< a target that has gone is kept that long
    size_t records_max = 200'000;        ///< listed and gone: beyond, the oldest gone are forgotten
    std::vector<std::string> group = {}; ///< the labels that make a group; none: there are none
};

/// Host and port of an address, to compare and to find it by.
struct AddressKey {
    std::array<uint8_t, 24> bytes{};

    AddressKey() = default;
    explicit AddressKey(const SocketAddress& address);
    bool operator==(const AddressKey&) const = default;
};

class Fleet {
public:
    using Slot = uint32_t;
    static constexpr unsigned slot_bits = 20;
    static constexpr size_t slots_max = size_t{1} << slot_bits;

    Fleet(FleetSettings settings, uint32_t run);

    struct Moment {
        uint64_t ns = 0;    ///< of CLOCK_MONOTONIC
        double seconds = 0; ///< since 1970
    };
    /// What a target takes, about: its books, its name and labels, and its place in the tables.
    static size_t bytes_a_target(const FleetSettings& settings);

    /// These are the targets from now on. What stays keeps its books.
    void set_targets(std::span<const ChosenTarget> chosen, Moment now);
    /// The targets whose time of grace is over are gone.
    void forget_gone(uint64_t now_ns);
    /// How many were forgotten before that, since there were too many.
    uint64_t forgotten_early() const { return forgotten_early_; }

    /// Those that are in the lists, by name.
    std::vector<Slot> listed() const;
    /// How many of them have an address.
    size_t count_probed() const;
    const TargetIdentity& identity(Slot slot) const { return *records_[slot]->who; }
    const Endpoint& endpoint(Slot slot) const { return records_[slot]->endpoint; }
    /// Size 0: it has none.
    const SocketAddress& address(Slot slot) const { return records_[slot]->address; }
    void set_address(Slot slot, const SocketAddress& address);
    void note_resolve_failure(Slot slot) { records_[slot]->resolve_failures++; }
    bool is_listed(Slot slot) const {
        return slot < records_.size() && records_[slot] && !records_[slot]->gone_ns;
    }

    /// A probe is about to be sent: its bytes are written to `out`, of payload_bytes. Returns its
    /// number.
    uint64_t send(Slot slot, uint64_t now_ns, std::span<std::byte> out);
    /// It has left, or failed to: once for each send().
    void note_leaving(uint64_t due_ns, uint64_t left_ns) {
        lateness_.record(left_ns - std::min(due_ns, left_ns));
    }
    /// The probe was not sent, or something other than an answer decided it.
    void decide(Slot slot, uint64_t sequence, Outcome outcome);
    /// A datagram came.
    void arrived(const SocketAddress& from, std::span<const std::byte> bytes, uint64_t received_ns);
    /// An ICMP error came, about a datagram to `to` of which it quotes the beginning.
    void failed(const SocketAddress& to, std::span<const std::byte> quoted, Outcome outcome);
    /// When the oldest probe that waits expires, or one that has been decided since then.
    std::optional<uint64_t> next_expiry_ns() const;
    /// Does one expire that waits? What has arrived is to be read before.
    bool has_expired(uint64_t now_ns);
    void expire(uint64_t now_ns);
    /// Probes were left out.
    void note_skipped(uint64_t count) { skipped_ += count; }

    uint64_t waiting() const { return waiting_; }
    uint64_t stray() const { return stray_; }
    const CompactHistogram& lateness() const { return lateness_; }
    /// All but what only the engine knows: `discovery`, the intervals, and of the prober what it
    /// and the process did.
    FleetFigures figures(Moment now) const;

private:
    struct Group {
        Labels labels;
        ProbeTransport transport;
        double started_at;
        OutcomeCounts counts = {};
        CompactHistogram rtt = {};
    };
    /// Which group a target's probes belong to, from one on.
    struct Membership {
        uint64_t from;
        std::shared_ptr<Group> group;
    };
    struct Record {
        uint32_t session;
        std::shared_ptr<const TargetIdentity> who;
        Endpoint endpoint;
        TargetBooks books;
        double started_at;
        SocketAddress address = {};
        AddressKey key = {};
        AddressKey previous = {};             ///< the address before, whose answers may still come
        std::vector<Membership> groups = {};  ///< in the order of their probes; none: no groups
        std::optional<uint64_t> gone_ns = {}; ///< since then it is in no list
        uint64_t resolve_failures = 0;
    };
    struct Expiry {
        uint64_t sent_ns;
        uint64_t sequence;
        uint32_t session;
    };
    using Name = std::pair<std::string, ProbeTransport>;
    struct KeyHash {
        size_t operator()(const AddressKey& key) const noexcept;
    };

    Slot add(const ChosenTarget& chosen, ProbeTransport transport, Moment now);
    void update(Record& record, const ListedTarget& target, Moment now);
    void join_group(Record& record, Moment now);
    void forget(Slot slot);
    void limit_gone();
    void unlink_address(Slot slot, const AddressKey& key);
    Record* find(uint32_t session);
    static Group* group_of(const Record& record, uint64_t sequence);

    void write(const Record& record, uint64_t sequence, std::span<std::byte> out) const;
    void decide(Record& record, uint64_t sequence, Outcome outcome);
    void book(
        Record& record, uint64_t sequence, std::span<const std::byte> bytes, uint64_t received_ns);
    bool is_from(const Record& record, const AddressKey& key) const;
    bool book_by_header(
        const AddressKey& from, std::span<const std::byte> bytes, uint64_t received_ns);
    bool book_by_likeness(
        const AddressKey& from, std::span<const std::byte> bytes, uint64_t received_ns);
    void drop_decided();

    FleetSettings settings_;
    uint32_t run_;
    std::vector<std::unique_ptr<Record>> records_; ///< by slot; null: free
    std::vector<uint32_t> generations_;            ///< by slot: of its last session
    std::vector<Slot> free_;
    std::map<Name, Slot> by_name_;
    std::unordered_map<AddressKey, std::vector<Slot>, KeyHash> by_address_;
    std::map<std::pair<Labels, ProbeTransport>, std::shared_ptr<Group>> groups_;
    std::deque<Expiry> expiries_;    ///< in the order of sending; some have been decided since
    std::vector<std::byte> scratch_; ///< of payload_bytes
    uint64_t waiting_ = 0;
    uint64_t stray_ = 0;
    uint64_t skipped_ = 0;
    uint64_t forgotten_early_ = 0;
    CompactHistogram lateness_;
};

} // namespace riposte::client
