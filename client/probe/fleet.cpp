// Who is in the fleet, and its picture; the probes are in fleet_probes.cpp.
#include "client/probe/fleet.h"

#include "common/siphash.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <ranges>
#include <set>
#include <utility>

#include <netinet/in.h>

namespace riposte::client {

AddressKey::AddressKey(const SocketAddress& address) {
    bytes[0] = static_cast<uint8_t>(address.family());
    const uint16_t port = address.port();
    std::memcpy(&bytes[2], &port, sizeof(port));
    if (address.family() == AF_INET) {
        sockaddr_in specific{};
        std::memcpy(&specific, &address.storage, sizeof(specific));
        std::memcpy(&bytes[4], &specific.sin_addr, sizeof(specific.sin_addr));
    } else if (address.family() == AF_INET6) {
        sockaddr_in6 specific{};
        std::memcpy(&specific, &address.storage, sizeof(specific));
        std::memcpy(&bytes[4], &specific.sin6_addr, sizeof(specific.sin6_addr));
        std::memcpy(&bytes[20], &specific.sin6_scope_id, sizeof(specific.sin6_scope_id));
    }
}

size_t Fleet::KeyHash::operator()(const AddressKey& key) const noexcept {
    static const HashSecret secret = random_secret();
    return siphash(secret, key.bytes);
}

Fleet::Fleet(FleetSettings settings, uint32_t run)
    : settings_(std::move(settings)), run_(run), scratch_(settings_.payload_bytes) {}

size_t Fleet::bytes_a_target(const FleetSettings& settings) {
    constexpr size_t names_and_tables = 768;
    return sizeof(Record) + TargetBooks::window_bytes(settings.window) + names_and_tables;
}

void Fleet::set_targets(std::span<const ChosenTarget> chosen, Moment now) {
    std::set<Slot> kept;
    for (const ChosenTarget& each : chosen)
        for (const ProbeTransport transport : settings_.transports) {
            const auto known = by_name_.find({each.target.name, transport});
            if (known == by_name_.end()) {
                kept.insert(add(each, transport, now));
                continue;
            }
            update(*records_[known->second], each.target, now);
            kept.insert(known->second);
        }
    for (const auto& [name, slot] : by_name_)
        if (Record& record = *records_[slot]; !kept.contains(slot) && !record.gone_ns)
            record.gone_ns = now.ns;
    limit_gone();
}

Fleet::Slot Fleet::add(const ChosenTarget& chosen, ProbeTransport transport, Moment now) {
    Slot slot = static_cast<Slot>(records_.size());
    if (free_.empty()) {
        assert(slot < slots_max);
        records_.emplace_back();
        generations_.push_back(run_);
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    const uint32_t session = ++generations_[slot] << slot_bits | slot;
    records_[slot] = std::make_unique<Record>(Record{
        .session = session,
        .who = std::make_shared<const TargetIdentity>(TargetIdentity{
            .name = chosen.target.name, .transport = transport, .labels = chosen.target.labels}),
        .endpoint = chosen.target.endpoint,
        .books = TargetBooks(settings_.window, settings_.timeout_ns),
        .started_at = now.seconds});
    by_name_.emplace(Name{chosen.target.name, transport}, slot);
    join_group(*records_[slot], now);
    return slot;
}

void Fleet::update(Record& record, const ListedTarget& target, Moment now) {
    record.gone_ns.reset();
    if (record.who->labels == target.labels)
        return;
    record.who = std::make_shared<const TargetIdentity>(TargetIdentity{
        .name = record.who->name, .transport = record.who->transport, .labels = target.labels});
    join_group(record, now);
}

/// Probes that are sent from now on are that group's; those under way stay the earlier one's.
void Fleet::join_group(Record& record, Moment now) {
    if (settings_.group.empty())
        return;
    Labels labels;
    for (const std::string& name : settings_.group) {
        const auto found = record.who->labels.find(name);
        labels[name] = found == record.who->labels.end() ? "" : found->second;
    }
    const auto [at, is_new] = groups_.try_emplace({labels, record.who->transport});
    if (is_new)
        at->second = std::make_shared<Group>(
            Group{.labels = labels, .transport = record.who->transport, .started_at = now.seconds});
    if (!record.groups.empty() && record.groups.back().group == at->second)
        return;
    record.groups.push_back({.from = record.books.last() + 1, .group = at->second});
    // Those before the oldest probe that is remembered have none left.
    while (record.groups.size() > 1 && record.groups[1].from <= record.books.first_remembered())
        record.groups.erase(record.groups.begin());
}

Fleet::Group* Fleet::group_of(const Record& record, uint64_t sequence) {
    for (const Membership& each : std::views::reverse(record.groups))
        if (each.from <= sequence)
            return each.group.get();
    return nullptr;
}

void Fleet::forget_gone(uint64_t now_ns) {
    for (Slot slot = 0; slot < records_.size(); slot++)
        if (const Record* const record = records_[slot].get();
            record != nullptr && record->gone_ns &&
            now_ns - *record->gone_ns >= settings_.grace_ns &&
            record->books.counts().undecided() == 0)
            forget(slot);
    std::erase_if(groups_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

/// Lists whose names change all the time leave more behind than the time of grace can hold.
void Fleet::limit_gone() {
    if (by_name_.size() <= settings_.records_max)
        return;
    std::vector<std::pair<uint64_t, Slot>> gone;
    gone.reserve(by_name_.size());
    for (const auto& [name, slot] : by_name_)
        if (const auto since_ns = records_[slot]->gone_ns)
            gone.emplace_back(*since_ns, slot);
    const size_t excess = std::min(by_name_.size() - settings_.records_max, gone.size());
    std::ranges::nth_element(gone, gone.begin() + static_cast<std::ptrdiff_t>(excess));
    for (const auto& [since_ns, slot] : std::span(gone).first(excess)) {
        Record& record = *records_[slot];
        while (const auto waiting = record.books.oldest_waiting())
            decide(record, *waiting, Outcome::lost);
        forget(slot);
    }
    forgotten_early_ += excess;
}

void Fleet::forget(Slot slot) {
    const Record& record = *records_[slot];
    unlink_address(slot, record.key);
    unlink_address(slot, record.previous);
    by_name_.erase({record.who->name, record.who->transport});
    records_[slot].reset();
    free_.push_back(slot);
}

void Fleet::unlink_address(Slot slot, const AddressKey& key) {
    const auto found = by_address_.find(key);
    if (found == by_address_.end())
        return;
    std::erase(found->second, slot);
    if (found->second.empty())
        by_address_.erase(found);
}

void Fleet::set_address(Slot slot, const SocketAddress& address) {
    Record& record = *records_[slot];
    const AddressKey key(address);
    if (record.address.size != 0 && record.key == key)
        return;
    unlink_address(slot, record.previous);
    unlink_address(slot, record.key);
    record.previous = record.key;
    record.key = key;
    record.address = address;
    for (const AddressKey& each : {record.previous, record.key})
        if (each != AddressKey())
            by_address_[each].push_back(slot);
}

std::vector<Fleet::Slot> Fleet::listed() const {
    std::vector<Slot> slots;
    slots.reserve(by_name_.size());
    for (const auto& [name, slot] : by_name_)
        if (is_listed(slot))
            slots.push_back(slot);
    return slots;
}

size_t Fleet::count_probed() const {
    size_t count = 0;
    for (const auto& [name, slot] : by_name_)
        count += is_listed(slot) && address(slot).size != 0 ? 1U : 0U;
    return count;
}

FleetFigures Fleet::figures(Moment now) const {
    FleetFigures figures;
    figures.at = now.seconds;
    figures.at_ns = now.ns;
    figures.timeout_ns = settings_.timeout_ns;
    figures.prober.lateness = HistogramFigures(lateness_);
    figures.prober.skipped = skipped_;
    figures.prober.stray = stray_;
    figures.targets.reserve(by_name_.size());
    std::map<const Group*, size_t> members;
    for (const auto& [name, slot] : by_name_) {
        const Record& record = *records_[slot];
        TargetFigures each;
        each.who = record.who;
        if (record.address.size != 0) {
            each.address = to_string(record.address);
            each.ip_version = record.address.family() == AF_INET ? 4 : 6;
        }
        each.listed = !record.gone_ns;
        each.started_at = record.started_at;
        each.counts = record.books.counts();
        each.rtt = HistogramFigures(record.books.rtt());
        each.resolve_failures = record.resolve_failures;
        if (each.listed && !record.groups.empty())
            members[record.groups.back().group.get()]++;
        figures.targets.push_back(std::move(each));
    }
    figures.groups.reserve(groups_.size());
    for (const auto& [key, group] : groups_)
        figures.groups.push_back(
            {.labels = group->labels,
             .transport = group->transport,
             .started_at = group->started_at,
             .targets = members[group.get()],
             .counts = group->counts,
             .rtt = HistogramFigures(group->rtt)});
    return figures;
}

} // namespace riposte::client
