// An Entry is one address as somebody wrote it (or one inherited socket). It has a Bound for each
// socket address that it stands for, as a name may have several, and a Bound has one Socket a
// worker, or a single one that all workers share if it was inherited.
//
//   - A Socket's id is given once and never again, so a worker tells a kept socket from a new one
//     that happens to have the same descriptor.
//   - apply() opens what is new before it touches what is there, so an error changes nothing. The
//     price: an address can not be replaced by one that overlaps it ("127.0.0.1" by "*") in a
//     reload, which the error says.
//   - What a reload takes away waits in `removed`, still open, until close_removed().
//   - Sockets are bound with SO_REUSEPORT only where several workers need it, and then the kernel
//     would let other processes of the same user in as well: a probe without SO_REUSEPORT is bound
//     first, so that a port somebody else holds is refused with any number of workers.

#include "daemon/listen/listeners.h"

#include "daemon/listen/listen_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace riposte {

namespace {

struct Socket {
    uint64_t id = 0;
    Fd fd;
};

struct Bound {
    ListenAddress address; ///< with the port that the kernel gave
    std::vector<Socket> sockets;
    std::vector<std::shared_ptr<ListenerCounts>> counts{}; ///< one a worker
};

struct Entry {
    std::string key;    ///< the canonical address as written; identity across reloads
    std::string origin; ///< of the [[listen]] section, for errors
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::hello;
    ServiceOptions options;
    std::shared_ptr<const Service> service;
    std::shared_ptr<const Acl> access;
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    uint32_t connections_max = connections_most;
    std::vector<Bound> bounds;
    bool leaving = false; ///< not in the configuration that is being applied
};

/// What an inherited socket is told: what the first section of its service says.
ListenerConfig section_of(const std::vector<ListenerConfig>& sections, ServiceKind kind) {
    const auto same = std::ranges::find(sections, kind, &ListenerConfig::service);
    return same == sections.end() ? ListenerConfig{.service = kind} : *same;
}

/// What a section makes of an entry, before it does.
struct Configured {
    ServiceKind kind;
    ServiceOptions options;
    std::shared_ptr<const Service> service;
    std::shared_ptr<const Acl> access;
    uint32_t connections_max;
};

Configured configured(const Entry& entry, const ListenerConfig& listen) {
    // Connections and workers go on with the object that they have.
    const bool same =
        entry.service && entry.kind == listen.service && entry.options == listen.options;
    return {
        .kind = listen.service,
        .options = listen.options,
        .service = same ? entry.service : make_service(listen.service, listen.options),
        .access = make_acl(listen.access),
        .connections_max = listen.connections_max};
}

void configure(Entry& entry, Configured configured) noexcept {
    entry.kind = configured.kind;
    entry.options = std::move(configured.options);
    entry.service = std::move(configured.service);
    entry.access = std::move(configured.access);
    entry.connections_max = configured.connections_max;
}

void configure(Entry& entry, const ListenerConfig& listen) {
    configure(entry, configured(entry, listen));
}

/// Both ways: the service of a socket may be another one than before.
void set_accepting(const Entry& entry) {
    if (entry.transport != Transport::tcp)
        return;
    for (const Bound& bound : entry.bounds)
        for (const Socket& socket : bound.sockets)
            accept_with_first_bytes(socket.fd.get(), entry.service->replies_once());
}

bool mentions(const std::vector<ListenerConfig>& sections, std::string_view key) {
    for (const ListenerConfig& listen : sections) {
        for (const Endpoint& endpoint : listen.addresses) {
            if (to_string(endpoint) == key)
                return true;
        }
    }
    return false;
}

/// If one of ours holds `address`: which, and what that means.
std::optional<std::string> holder(std::span<const Entry> ours, const ListenAddress& address) {
    for (const Entry& entry : ours) {
        for (const Bound& bound : entry.bounds) {
            if (overlap(bound.address, address))
                return fmt::format(
                    "address already in use by this daemon's own {} ({}){}", entry.key,
                    entry.origin,
                    entry.leaving ? "; a reload opens before it closes: restart to replace it"
                                  : "");
        }
    }
    return std::nullopt;
}

} // namespace

struct Listeners::Impl {
    bool inherited = false;
    bool name_service = true; ///< may be asked
    uint32_t workers = 1;
    uint64_t next_id = 1;
    std::vector<Entry> entries;
    std::vector<Entry> removed;
    std::vector<std::string> notes; ///< what was not had

    /// What a new configuration needs, before anything is changed.
    struct Change {
        struct Wanted {
            std::string origin;
            Configured configured;
            std::optional<size_t> kept; ///< index in `entries`; else the next one of `opened`
        };
        std::vector<Wanted> wanted;
        std::vector<Entry> opened;
        std::vector<bool> taken; ///< by index in `entries`: is it kept?
        std::vector<Entry> next; ///< room for all
    };

    std::vector<std::shared_ptr<ListenerCounts>> new_counts() const;
    Result<void> adopt(
        systemd::InheritedSocket socket, const std::vector<ListenerConfig>& sections);
    std::expected<Bound, int> bind(ListenAddress address);
    Result<Entry> open(
        const Endpoint& endpoint, const ListenerConfig& listen, std::span<const Entry> opened);
    Result<void> bind_all(
        Entry& entry, const Endpoint& endpoint, const std::vector<SocketAddress>& addresses,
        std::span<const Entry> opened);
    void note(const Entry& entry, std::string_view what);
    Error open_error(
        int error, const ListenAddress& address, const Entry& entry,
        std::span<const Entry> opened) const;
    Result<Change> prepare(const std::vector<ListenerConfig>& sections);
    void commit(Change change) noexcept;
};

std::vector<std::shared_ptr<ListenerCounts>> Listeners::Impl::new_counts() const {
    std::vector<std::shared_ptr<ListenerCounts>> counts(workers);
    std::ranges::generate(counts, [] { return std::make_shared<ListenerCounts>(); });
    return counts;
}

Result<void> Listeners::Impl::adopt(
    systemd::InheritedSocket socket, const std::vector<ListenerConfig>& sections) {
    const auto kind = inherited_service(socket.fd.get(), socket.name);
    if (!kind)
        return std::unexpected(kind.error());
    const auto address = prepare_inherited(socket.fd.get(), socket.name);
    if (!address)
        return std::unexpected(address.error());

    Entry entry;
    entry.key = to_string(*address);
    entry.transport = address->transport;
    configure(entry, section_of(sections, *kind));
    Bound& bound = entry.bounds.emplace_back(Bound{*address, {}, {}});
    bound.sockets.push_back({next_id++, std::move(socket.fd)});
    bound.counts = new_counts();
    entries.push_back(std::move(entry));
    return {};
}

/// One socket a worker; the error is an errno.
std::expected<Bound, int> Listeners::Impl::bind(ListenAddress address) {
    if (workers > 1) {
        // It also finds the port where any will do: with SO_REUSEPORT set, the kernel may pick one
        // that another UDP socket of this user shares.
        const auto probe = bind_socket(address, false);
        if (!probe)
            return std::unexpected(probe.error());
        address.address = local_address(probe->get());
    }
    Bound bound;
    for (uint32_t i = 0; i < workers; ++i) {
        auto fd = bind_socket(address, workers > 1);
        if (!fd)
            return std::unexpected(fd.error());
        address.address = local_address(fd->get());
        bound.sockets.push_back({next_id++, std::move(*fd)});
    }
    bound.address = address;
    bound.counts = new_counts();
    return bound;
}

Error Listeners::Impl::open_error(
    int error, const ListenAddress& address, const Entry& entry,
    std::span<const Entry> opened) const {
    const std::string text = to_string(address);
    const std::string where =
        text == entry.key
            ? fmt::format("{}: {}", entry.origin, entry.key)
            : fmt::format("{}: {} ({})", entry.origin, entry.key, to_string(address.address));
    if (error == EADDRINUSE) {
        const std::array<std::span<const Entry>, 4> groups{
            std::span(&entry, 1), opened, std::span(entries), std::span(removed)};
        for (const auto& group : groups) {
            if (const auto own = holder(group, address))
                return {Exit::config, fmt::format("{}: {}", where, *own)};
        }
    }
    Error reason = bind_error(error, address);
    reason.message = fmt::format("{}: {}", where, reason.message);
    return reason;
}

Result<Entry> Listeners::Impl::open(
    const Endpoint& endpoint, const ListenerConfig& listen, std::span<const Entry> opened) {
    Entry entry;
    entry.key = to_string(endpoint);
    entry.origin = listen.origin;
    entry.transport = endpoint.transport.value_or(Transport::tcp); // set in a validated Config
    configure(entry, listen);
    auto addresses = resolve(endpoint, entry.transport, Family::any, true);
    if (!addresses) {
        const bool is_name = !endpoint.host.contains(':'); // an IPv4 address does not fail
        return fail(
            Exit::config,
            fmt::format(
                "{}: {}: {}{}", entry.origin, entry.key, addresses.error(),
                is_name && !name_service
                    ? "; once it runs, riposted asks no name service: write the address, or restart"
                    : ""));
    }

    if (auto bound = bind_all(entry, endpoint, *addresses, opened); !bound)
        return std::unexpected(bound.error());
    return entry;
}

/// Without IPv6, `*` is 0.0.0.0, and a name is what it is in IPv4; what was not had is noted. An
/// IPv6 address as such is refused by name.
Result<void> Listeners::Impl::bind_all(
    Entry& entry, const Endpoint& endpoint, const std::vector<SocketAddress>& addresses,
    std::span<const Entry> opened) {
    const bool is_wildcard = endpoint.host == "*";
    const bool is_name = !is_wildcard && !endpoint.host.contains(':');
    std::optional<Error> lacking;
    uint16_t port = endpoint.port;
    for (const SocketAddress& resolved : addresses) {
        ListenAddress address{entry.transport, with_port(resolved, port), is_wildcard};
        auto bound = bind(address);
        if (!bound && is_wildcard && lacks_ipv6(bound.error(), resolved)) {
            note(entry, fmt::format("{}: IPv4 alone is served", ipv6_missing(bound.error())));
            address = {entry.transport, any_ipv4(port), false};
            bound = bind(address);
        }
        if (!bound && bound.error() == EADDRINUSE && endpoint.port == 0 && port != 0) {
            // The port found for a name's first address is taken on this one: any will do.
            address.address = with_port(resolved, 0);
            bound = bind(address);
        }
        if (!bound && is_name && lacks_ipv6(bound.error(), resolved)) {
            note(
                entry, fmt::format(
                           "{}: {} is left out", ipv6_missing(bound.error()), to_string(resolved)));
            lacking = open_error(bound.error(), address, entry, opened);
            continue;
        }
        if (!bound)
            return std::unexpected(open_error(bound.error(), address, entry, opened));
        port = bound->address.address.port();
        entry.bounds.push_back(std::move(*bound));
    }
    if (entry.bounds.empty() && lacking)
        return std::unexpected(*std::move(lacking));
    return {};
}

void Listeners::Impl::note(const Entry& entry, std::string_view what) {
    notes.push_back(fmt::format("{}: {}: {}", entry.origin, entry.key, what));
}

Result<Listeners::Impl::Change> Listeners::Impl::prepare(
    const std::vector<ListenerConfig>& sections) {
    for (Entry& entry : entries)
        entry.leaving = !mentions(sections, entry.key);
    Change change;
    change.taken.resize(entries.size(), false);
    for (const ListenerConfig& listen : sections) {
        for (const Endpoint& endpoint : listen.addresses) {
            const auto held = std::ranges::find(entries, to_string(endpoint), &Entry::key);
            const auto index = static_cast<size_t>(held - entries.begin());
            if (held != entries.end() && !change.taken[index]) {
                change.taken[index] = true;
                change.wanted.push_back({listen.origin, configured(*held, listen), index});
                continue;
            }
            auto entry = open(endpoint, listen, change.opened);
            if (!entry)
                return std::unexpected(entry.error());
            change.wanted.push_back({listen.origin, configured(*entry, listen), std::nullopt});
            change.opened.push_back(std::move(*entry));
        }
    }
    change.next.reserve(change.wanted.size());
    removed.reserve(removed.size() + entries.size());
    return change;
}

/// Allocates nothing.
void Listeners::Impl::commit(Change change) noexcept {
    std::vector<Entry>& next = change.next;
    auto opened = change.opened.begin();
    for (Change::Wanted& wanted : change.wanted) {
        next.push_back(std::move(wanted.kept ? entries[*wanted.kept] : *opened++));
        next.back().origin = std::move(wanted.origin);
        configure(next.back(), std::move(wanted.configured));
    }
    for (size_t i = 0; i < entries.size(); ++i) {
        if (!change.taken[i])
            removed.push_back(std::move(entries[i]));
    }
    entries = std::move(next);
}

Result<Listeners> Listeners::open(
    const std::vector<ListenerConfig>& sections, std::vector<systemd::InheritedSocket> inherited,
    uint32_t workers) {
    auto impl = std::make_unique<Impl>();
    impl->workers = std::max(workers, 1U);
    impl->inherited = !inherited.empty();
    for (auto& socket : inherited) {
        const auto adopted = impl->adopt(std::move(socket), sections);
        if (!adopted)
            return std::unexpected(adopted.error());
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
    for (const Entry& entry : impl_->entries) {
        for (const Bound& bound : entry.bounds) {
            const Socket& socket = bound.sockets[impl_->inherited ? 0 : index];
            plan.push_back(
                {.id = socket.id,
                 .fd = socket.fd.get(),
                 .transport = entry.transport,
                 .kind = entry.kind,
                 .service = entry.service,
                 .access = entry.access,
                 .load = entry.load,
                 .connections_max = entry.connections_max,
                 .counts = bound.counts[index],
                 .label =
                     fmt::format("{} on {}", to_string(entry.kind), to_string(bound.address))});
        }
    }
    return plan;
}

Result<void> Listeners::apply(const std::vector<ListenerConfig>& sections) {
    if (impl_->inherited) {
        std::vector<Configured> all;
        all.reserve(impl_->entries.size());
        for (const Entry& entry : impl_->entries)
            all.push_back(configured(entry, section_of(sections, entry.kind)));
        for (size_t i = 0; i < all.size(); ++i)
            configure(impl_->entries[i], std::move(all[i]));
    } else {
        auto change = impl_->prepare(sections);
        if (!change)
            return std::unexpected(change.error());
        impl_->commit(std::move(*change));
    }
    std::ranges::for_each(impl_->entries, set_accepting);
    return {};
}

bool Listeners::loses_any(const std::vector<ListenerConfig>& sections) const {
    return !impl_->inherited && !std::ranges::all_of(impl_->entries, [&](const Entry& entry) {
        return mentions(sections, entry.key);
    });
}

std::vector<std::string> Listeners::take_notes() {
    return std::exchange(impl_->notes, {});
}

void Listeners::expect_no_name_service() noexcept {
    impl_->name_service = false;
}

void Listeners::close_removed() {
    impl_->removed.clear();
}

PortSet Listeners::datagram_ports() const {
    PortSet ports;
    for (const Entry& entry : impl_->entries)
        if (entry.transport == Transport::udp)
            for (const Bound& bound : entry.bounds)
                ports.set(bound.address.address.port());
    return ports;
}

std::vector<std::string> Listeners::labels() const {
    std::vector<std::string> labels;
    for (ListenerSpec& listener : plan(0)) {
        // Inherited sockets may share an address (ReusePort= and the same line repeated).
        if (std::ranges::find(labels, listener.label) == labels.end())
            labels.push_back(std::move(listener.label));
    }
    return labels;
}

std::vector<ListenerReport> Listeners::reports() const {
    std::vector<ListenerReport> reports;
    for (const Entry& entry : impl_->entries) {
        for (const Bound& bound : entry.bounds) {
            const auto sum = [&](std::atomic<uint64_t> ListenerCounts::* member) {
                uint64_t all = 0;
                for (const auto& counts : bound.counts)
                    all += ((*counts).*member).load(std::memory_order_relaxed);
                return all;
            };
            const uint64_t closed = sum(&ListenerCounts::closed); // before what was opened
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
