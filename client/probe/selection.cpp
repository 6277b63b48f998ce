#include "client/probe/selection.h"

#include "client/measure/cause.h"
#include "client/measure/stable_order.h"
#include "client/probe/ring.h"

#include <algorithm>
#include <array>
#include <map>
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

/// The entry of "db7.example.net" for a host that calls itself "db7", if there is no other.
const ListedTarget* find_by_short_name(
    const std::vector<ListedTarget>& listed, const std::string& name) {
    if (name.empty() || name.find('.') != std::string::npos)
        return nullptr;
    const ListedTarget* found = nullptr;
    for (const ListedTarget& target : listed) {
        const std::string& host = target.endpoint.host;
        if (host.size() <= name.size() || host[name.size()] != '.' || is_numeric_host(host) ||
            ::strncasecmp(host.data(), name.data(), name.size()) != 0)
            continue;
        if (found != nullptr && found->endpoint.host != host)
            return nullptr;
        found = &target;
    }
    return found;
}

/// Which entries are this host.
std::vector<bool> find_own(
    const std::vector<ListedTarget>& listed, const SelectionRules& rules, const OwnHost& host) {
    std::vector<bool> own(listed.size());
    if (rules.self == "none")
        return own;
    for (size_t at = 0; at < listed.size(); at++)
        own[at] = rules.self != "auto"
                      ? listed[at].name == rules.self
                      : has_name(listed[at], host.name) || has_address(listed[at], host.addresses);
    if (rules.self == "auto" && std::ranges::find(own, true) == own.end())
        if (const ListedTarget* const found = find_by_short_name(listed, host.name))
            for (size_t at = 0; at < listed.size(); at++)
                own[at] = listed[at].endpoint.host == found->endpoint.host;
    return own;
}

std::string_view label_of(const ListedTarget& target, const std::string& label) {
    const auto found = target.labels.find(label);
    return found == target.labels.end() ? std::string_view() : found->second;
}

/// Marks `count` targets of every group but `own`. A target without the label is in no group.
void choose_of_groups(
    std::vector<ChosenTarget>& all, std::string_view self, std::string_view own,
    const PerGroup& rule) {
    std::map<std::string_view, std::vector<size_t>> groups;
    for (size_t at = 0; at < all.size(); at++)
        if (const auto value = label_of(all[at].target, rule.label); !value.empty() && value != own)
            groups[value].push_back(at);
    for (const auto& [value, members] : groups) {
        std::vector<std::string_view> names;
        names.reserve(members.size());
        for (const size_t member : members)
            names.push_back(all[member].target.name);
        for (const size_t index : Ring(names).next(self, rule.count))
            all[members[index]].is_of_group = true;
    }
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
    selection.self = rules.self == "auto" || rules.self == "none" ? host.name : rules.self;
    for (size_t at = 0; at < listed.size(); at++) {
        if (!own[at]) {
            selection.chosen.push_back({.target = std::move(listed[at])});
            continue;
        }
        if (selection.own++ == 0) { // of several, the first stands on the ring
            selection.self = listed[at].name;
            selection.self_listed = true;
            if (rules.per_group)
                own_group = label_of(listed[at], rules.per_group->label);
        }
    }
    if (rules.neighbours == 0)
        return selection;

    std::vector<std::string_view> names;
    names.reserve(selection.chosen.size());
    for (const ChosenTarget& each : selection.chosen)
        names.push_back(each.target.name);
    for (const size_t index : Ring(names).next(selection.self, rules.neighbours))
        selection.chosen[index].is_neighbour = true;
    if (rules.per_group)
        choose_of_groups(selection.chosen, selection.self, own_group, *rules.per_group);
    std::erase_if(selection.chosen, [](const ChosenTarget& each) {
        return !each.is_neighbour && !each.is_of_group;
    });
    return selection;
}

} // namespace riposte::client
