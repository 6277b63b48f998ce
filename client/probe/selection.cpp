#include "client/probe/selection.h"

#include "client/measure/cause.h"
#include "client/measure/stable_order.h"
#include "client/probe/ring.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <ifaddrs.h>
#include <limits.h>
#include <netinet/in.h>
#include <strings.h>
#include <unistd.h>

namespace riposte::client {

namespace {

bool has_name(const ListedTarget& target, std::string_view name) {
    const std::string& host = target.endpoint.host;
    return host.size() == name.size() && ::strncasecmp(host.data(), name.data(), name.size()) == 0;
}

bool has_address(const ListedTarget& target, const std::vector<std::string>& addresses) {
    if (!is_numeric_host(target.endpoint.host))
        return false;
    const auto found = resolve(target.endpoint, Transport::udp, Family::any, false);
    return found && std::ranges::any_of(*found, [&](const SocketAddress& address) {
               return std::ranges::find(addresses, host_text(address)) != addresses.end();
           });
}

/// The entry of "db7.example.net" for a host that calls itself "db7", if there is no other; or that
/// of "db7" for one that calls itself "db7.example.net".
const ListedTarget* find_by_short_name(
    const std::vector<ListedTarget>& listed, std::string_view name) {
    const size_t dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    const ListedTarget* found = nullptr;
    for (const ListedTarget& target : listed) {
        const std::string& host = target.endpoint.host;
        if (label.empty() || is_numeric_host(host))
            continue;
        if (dot != std::string_view::npos) {
            if (has_name(target, label))
                return &target;
            continue;
        }
        if (host.size() <= label.size() || host[label.size()] != '.' ||
            ::strncasecmp(host.data(), label.data(), label.size()) != 0)
            continue;
        if (found != nullptr && !has_name(*found, host))
            return nullptr;
        found = &target;
    }
    return found;
}

/// What stands on the ring for an entry: its host, whatever the port and the case of letters.
std::string ring_name(std::string_view host) {
    std::string name(host);
    for (char& c : name)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return name;
}

/// Which entries are this host.
std::vector<bool> find_own(
    const std::vector<ListedTarget>& listed, const SelectionRules& rules, const OwnHost& host) {
    std::vector<bool> own(listed.size());
    if (rules.self == "none")
        return own;
    const auto mark_host_of = [&](const ListedTarget& entry) {
        for (size_t at = 0; at < listed.size(); at++)
            own[at] = has_name(listed[at], entry.endpoint.host);
    };
    if (rules.self != "auto") {
        const auto named = std::ranges::find(listed, rules.self, &ListedTarget::name);
        if (named != listed.end())
            mark_host_of(*named);
        return own;
    }
    for (size_t at = 0; at < listed.size(); at++)
        own[at] = has_name(listed[at], host.name) || has_address(listed[at], host.addresses);
    if (std::ranges::find(own, true) == own.end())
        if (const ListedTarget* const found = find_by_short_name(listed, host.name))
            mark_host_of(*found);
    return own;
}

std::string_view label_of(const ListedTarget& target, const std::string& label) {
    const auto found = target.labels.find(label);
    return found == target.labels.end() ? std::string_view() : found->second;
}

/// Marks, of those entries, all of the next `count` hosts behind each of `selves`.
void choose(
    std::vector<ChosenTarget>& all, std::span<const size_t> entries,
    std::span<const std::string> selves, size_t count, bool ChosenTarget::* mark) {
    std::map<std::string, std::vector<size_t>> hosts;
    for (const size_t at : entries)
        hosts[ring_name(all[at].target.endpoint.host)].push_back(at);
    std::vector<std::string_view> names;
    names.reserve(hosts.size());
    for (const auto& [host, members] : hosts)
        names.emplace_back(host);
    const Ring ring(names);
    for (const std::string& self : selves)
        for (const size_t index : ring.next(self, count))
            for (const size_t at : hosts.find(std::string(names[index]))->second)
                all[at].*mark = true;
}

/// Marks `count` hosts of every group but `own`. A target without the label is in no group.
void choose_of_groups(
    std::vector<ChosenTarget>& all, std::span<const std::string> self, std::string_view own,
    const PerGroup& rule) {
    std::map<std::string_view, std::vector<size_t>> groups;
    for (size_t at = 0; at < all.size(); at++)
        if (const auto value = label_of(all[at].target, rule.label); !value.empty() && value != own)
            groups[value].push_back(at);
    for (const auto& [value, members] : groups)
        choose(all, members, self, rule.count, &ChosenTarget::is_of_group);
}

/// By name, each name once: the first of equal ones stays.
size_t remove_duplicates(std::vector<ListedTarget>& listed) {
    sort_stably(listed, &ListedTarget::name);
    const auto rest = std::ranges::unique(listed, {}, &ListedTarget::name);
    const size_t duplicates = rest.size();
    listed.erase(rest.begin(), rest.end());
    return duplicates;
}

} // namespace

OwnHost read_own_host() {
    OwnHost host;
    std::array<char, HOST_NAME_MAX + 1> name{};
    if (::gethostname(name.data(), name.size() - 1) == 0)
        host.name = name.data();
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0)
        return host;
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
        if (each->ifa_addr == nullptr)
            continue;
        SocketAddress address;
        if (each->ifa_addr->sa_family == AF_INET)
            address.size = sizeof(sockaddr_in);
        else if (each->ifa_addr->sa_family == AF_INET6)
            address.size = sizeof(sockaddr_in6);
        else
            continue;
        std::copy_n(
            reinterpret_cast<const std::byte*>(each->ifa_addr), address.size,
            reinterpret_cast<std::byte*>(&address.storage));
        host.addresses.push_back(host_text(address));
    }
    ::freeifaddrs(all);
    return host;
}

Selection select_targets(
    std::vector<ListedTarget> listed, const SelectionRules& rules, const OwnHost& host) {
    Selection selection;
    selection.duplicates = remove_duplicates(listed);
    const std::vector<bool> own = find_own(listed, rules, host);
    std::string own_group;
    std::vector<std::string> selves; // this host on the ring, for each of its names and addresses
    selection.self = rules.self == "auto" || rules.self == "none" ? host.name : rules.self;
    for (size_t at = 0; at < listed.size(); at++) {
        if (!own[at]) {
            selection.chosen.push_back({.target = std::move(listed[at])});
            continue;
        }
        std::string name = ring_name(listed[at].endpoint.host);
        if (std::ranges::find(selves, name) == selves.end())
            selves.push_back(std::move(name));
        if (selection.own++ == 0) {
            selection.self = rules.self == "auto" ? listed[at].name : rules.self;
            selection.self_listed = true;
            if (rules.per_group)
                own_group = label_of(listed[at], rules.per_group->label);
        }
    }
    if (rules.neighbours == 0)
        return selection;

    if (selves.empty())
        selves.push_back(ring_name(selection.self));
    std::vector<size_t> all(selection.chosen.size());
    std::iota(all.begin(), all.end(), size_t{0});
    choose(selection.chosen, all, selves, rules.neighbours, &ChosenTarget::is_neighbour);
    if (rules.per_group)
        choose_of_groups(selection.chosen, std::span(selves).first(1), own_group, *rules.per_group);
    std::erase_if(selection.chosen, [](const ChosenTarget& each) {
        return !each.is_neighbour && !each.is_of_group;
    });
    return selection;
}

} // namespace riposte::client
