// The listeners of the daemon and their change by a reload.
//
//   - apply() opens what is new before it changes what is there (prepare(), then commit(), which
//     cannot fail), so an error changes nothing. The price: a reload cannot replace an address by
//     one that overlaps it ("127.0.0.1" by "*"); the error says so.
//   - Entries that a reload removes wait in `removed`, still open, until close_removed().

#include "daemon/listen/listeners.h"

#include "daemon/listen/listener_entry.h"
#include "daemon/listen/listener_opener.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace riposte {

namespace {

std::string label_of(const ListenerEntry& entry, const BoundAddress& bound) {
    return fmt::format("{} on {}", to_string(entry.kind), to_string(bound.address));
}

} // namespace

struct Listeners::Impl {
    Impl(uint32_t workers, const HashSecret& secret)
        : opener({.workers = workers, .secret = secret}),
          stamp{.workers = workers, .secret = secret} {}

    ListenerOpener opener;
    StampTableRules stamp;
    bool inherited = false;
    std::vector<ListenerEntry> entries; ///< in the order of the configuration
    std::vector<ListenerEntry> removed;

    /// All that a new configuration needs, prepared before anything is changed.
    struct Change {
        struct Wanted {
            std::string origin;
            EntrySettings settings;
            std::optional<size_t> kept; ///< index in `entries`; empty: the next one of `opened`
        };
        std::vector<Wanted> wanted; ///< in the order of the configuration
        std::vector<ListenerEntry> opened;
        std::vector<bool> kept;          ///< by index in `entries`
        std::vector<ListenerEntry> next; ///< empty, with capacity for all
    };

    Result<Change> prepare(const std::vector<ListenerConfig>& sections);
    void commit(Change change) noexcept;
};

Result<Listeners::Impl::Change> Listeners::Impl::prepare(
    const std::vector<ListenerConfig>& sections) {
    for (ListenerEntry& entry : entries)
        entry.leaving = !mentions(sections, entry.key);
    Change change;
    change.kept.resize(entries.size(), false);
    for (const ListenerConfig& section : sections) {
        for (const Endpoint& endpoint : section.addresses) {
            const auto held = std::ranges::find(entries, to_string(endpoint), &ListenerEntry::key);
            const auto index = static_cast<size_t>(held - entries.begin());
            if (held != entries.end() && !change.kept[index]) {
                change.kept[index] = true;
                change.wanted.push_back(
                    {section.origin, make_settings(*held, section, stamp), index});
                continue;
            }
            const std::array<std::span<const ListenerEntry>, 3> own{
                change.opened, entries, removed};
            auto entry = opener.open(endpoint, section, own);
            if (!entry)
                return std::unexpected(entry.error());
            change.wanted.push_back(
                {section.origin, make_settings(*entry, section, stamp), std::nullopt});
            change.opened.push_back(std::move(*entry));
        }
    }
    change.next.reserve(change.wanted.size());
    removed.reserve(removed.size() + entries.size());
    return change;
}

/// Allocates nothing, so it cannot fail.
void Listeners::Impl::commit(Change change) noexcept {
    std::vector<ListenerEntry>& next = change.next;
    auto opened = change.opened.begin();
    for (Change::Wanted& wanted : change.wanted) {
        next.push_back(std::move(wanted.kept ? entries[*wanted.kept] : *opened++));
        next.back().origin = std::move(wanted.origin);
        apply_settings(next.back(), std::move(wanted.settings));
    }
    for (size_t i = 0; i < entries.size(); ++i) {
        if (!change.kept[i])
            removed.push_back(std::move(entries[i]));
    }
    entries = std::move(next);
}

Result<Listeners> Listeners::open(
    const std::vector<ListenerConfig>& sections, std::vector<systemd::InheritedSocket> inherited,
    uint32_t workers, const HashSecret& stamp_secret) {
    auto impl = std::make_unique<Impl>(std::max(workers, 1U), stamp_secret);
    impl->inherited = !inherited.empty();
    for (auto& socket : inherited) {
        auto adopted = impl->opener.adopt(std::move(socket), sections);
        if (!adopted)
            return std::unexpected(adopted.error());
        impl->entries.push_back(std::move(*adopted));
    }
    Listeners listeners(std::move(impl));
    const auto applied = listeners.apply(sections);
    if (!applied)
        return std::unexpected(applied.error());
    return listeners;
}

Listeners::Listeners(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listeners::Listeners(Listeners&&) noexcept = default;
Listeners& Listeners::operator=(Listeners&&) noexcept = default;
Listeners::~Listeners() = default;

std::vector<ListenerSpec> Listeners::plan(uint32_t index) const {
    std::vector<ListenerSpec> plan;
    for (const ListenerEntry& entry : impl_->entries) {
        for (const BoundAddress& bound : entry.bound) {
            const WorkerSocket& socket = bound.sockets[impl_->inherited ? 0 : index];
            // All workers share an inherited socket; a session must be the same worker's always.
            if (impl_->inherited && !entry.stamp.of_worker.empty() &&
                socket.id % impl_->stamp.workers != index)
                continue;
            plan.push_back(
                {.id = socket.id,
                 .fd = socket.fd.get(),
                 .transport = entry.transport,
                 .kind = entry.kind,
                 .service = entry.service,
                 .acl = entry.acl,
                 .load = entry.load,
                 .connections_max = entry.connections_max,
                 .counts = bound.counts[index],
                 .port = bound.address.address.port(),
                 .twamp_light = entry.twamp_light,
                 .sessions = entry.stamp.of_worker.empty()
                                 ? nullptr
                                 : entry.stamp.of_worker[impl_->inherited ? 0 : index],
                 .label = label_of(entry, bound)});
        }
    }
    return plan;
}

Result<void> Listeners::apply(const std::vector<ListenerConfig>& sections) {
    if (impl_->inherited) {
        std::vector<EntrySettings> all;
        all.reserve(impl_->entries.size());
        for (const ListenerEntry& entry : impl_->entries)
            all.push_back(make_settings(
                entry, section_of(sections, entry.kind), impl_->stamp.of_one_worker()));
        for (size_t i = 0; i < all.size(); ++i)
            apply_settings(impl_->entries[i], std::move(all[i]));
    } else {
        auto change = impl_->prepare(sections);
        if (!change)
            return std::unexpected(change.error());
        impl_->commit(std::move(*change));
    }
    std::ranges::for_each(impl_->entries, set_service_options);
    return {};
}

bool Listeners::loses_any(const std::vector<ListenerConfig>& sections) const {
    return !impl_->inherited &&
           !std::ranges::all_of(impl_->entries, [&](const ListenerEntry& entry) {
               return mentions(sections, entry.key);
           });
}

std::vector<Reason> Listeners::take_notes() {
    return impl_->opener.take_notes();
}

void Listeners::expect_no_name_service() noexcept {
    impl_->opener.expect_no_name_service();
}

void Listeners::close_removed() {
    impl_->removed.clear();
}

PortSet Listeners::datagram_ports() const {
    PortSet ports;
    for (const ListenerEntry& entry : impl_->entries)
        if (entry.transport == Transport::udp)
            for (const BoundAddress& bound : entry.bound)
                ports.set(bound.address.address.port());
    return ports;
}

size_t Listeners::adopt_sessions(StampImageReader& image) {
    size_t adopted = 0;
    while (const auto saved = image.next_listener()) {
        const auto entry = std::ranges::find(impl_->entries, saved->key, &ListenerEntry::key);
        while (const auto session = image.next_session())
            adopted += entry != impl_->entries.end() && entry->stamp.adopt(*session) ? 1U : 0U;
    }
    return adopted;
}

size_t Listeners::session_count() const {
    size_t count = 0;
    for (const ListenerEntry& entry : impl_->entries)
        count += entry.stamp.count();
    return count;
}

std::pair<uint64_t, uint64_t> Listeners::sessions_in_use(uint64_t now_ms) const {
    std::pair<uint64_t, uint64_t> sums{};
    for (const ListenerEntry& entry : impl_->entries) {
        if (entry.stamp.in_use != nullptr)
            sums.first += entry.stamp.in_use->in_use(static_cast<uint32_t>(now_ms));
        sums.second += entry.stamp.places();
    }
    return sums;
}

int Listeners::write_sessions(int fd) const {
    StampImageWriter writer(fd, impl_->stamp.secret, static_cast<uint32_t>(impl_->entries.size()));
    for (const ListenerEntry& entry : impl_->entries) {
        writer.begin_listener(entry.key, entry.stamp.count());
        entry.stamp.for_each_session([&](const StampSession& each) { writer.add(each); });
    }
    return writer.finish();
}

std::vector<std::string> Listeners::labels() const {
    std::vector<std::string> labels;
    for (const ListenerEntry& entry : impl_->entries) {
        for (const BoundAddress& bound : entry.bound) {
            std::string label = label_of(entry, bound);
            // Inherited sockets may share an address (ReusePort= and a repeated Listen line).
            if (std::ranges::find(labels, label) == labels.end())
                labels.push_back(std::move(label));
        }
    }
    return labels;
}

std::vector<ListenerReport> Listeners::reports() const {
    std::vector<ListenerReport> reports;
    for (const ListenerEntry& entry : impl_->entries) {
        for (const BoundAddress& bound : entry.bound) {
            const auto sum = [&](std::atomic<uint64_t> ListenerCounts::* member) {
                uint64_t all = 0;
                for (const auto& counts : bound.counts)
                    all += ((*counts).*member).load(std::memory_order_relaxed);
                return all;
            };
            const uint64_t closed = sum(&ListenerCounts::closed); // read before `opened`
            reports.push_back(
                {.kind = entry.kind,
                 .transport = entry.transport,
                 .address = to_string(bound.address),
                 .connections = std::max(sum(&ListenerCounts::opened), closed) - closed,
                 .accepted = sum(&ListenerCounts::accepted),
                 .refused = sum(&ListenerCounts::refused),
                 .received = sum(&ListenerCounts::received),
                 .answered = sum(&ListenerCounts::answered),
                 .received_bytes = sum(&ListenerCounts::received_bytes),
                 .sent_bytes = sum(&ListenerCounts::sent_bytes)});
        }
    }
    return reports;
}

bool Listeners::inherited() const {
    return impl_->inherited;
}

} // namespace riposte
