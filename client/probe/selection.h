// Which targets of the lists this host probes: not itself, and of the others all, or its neighbours
// on the ring (ring.h) and some of each group besides. Pure.
//
// Hosts stand on the ring, not entries: all ports of a host are probed by the same ones. A host
// that is listed by several names or addresses looks like several hosts to the others, and stands
// on the ring for each.
#pragma once

#include "client/probe/target_list.h"
#include "common/address.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace riposte::client {

/// `count` hosts of every other group, whose members have the same value of the label.
struct PerGroup {
    std::string label;
    size_t count = 1;

    bool operator==(const PerGroup&) const = default;
};

struct SelectionRules {
    /// "auto": the entries with this host's name or one of its addresses; "none": there are none;
    /// else the name of an entry, and all entries of its host.
    std::string self = "auto";
    size_t neighbours = 0; ///< 0: all
    std::optional<PerGroup> per_group = {};

    bool operator==(const SelectionRules&) const = default;
};

/// This machine, as far as lists may name it.
struct OwnHost {
    std::string name;                   ///< gethostname(2)
    std::vector<std::string> addresses; ///< "192.0.2.7": host_text() of each
};
OwnHost read_own_host();

struct ChosenTarget {
    ListedTarget target;
    bool is_neighbour = false;
    bool is_of_group = false; ///< by `per_group`; neither: all are probed
};

struct Selection {
    std::vector<ChosenTarget> chosen; ///< by name
    std::string self;         ///< of this host's entries the one that is named, or the first
    bool self_listed = false; ///< `self` is an entry's name; else this host's own
    size_t own = 0;           ///< entries that are this host, and so left out
    size_t duplicates = 0;    ///< entries with the name of an earlier one: left out
};

Selection select_targets(
    std::vector<ListedTarget> listed, const SelectionRules& rules, const OwnHost& host);

} // namespace riposte::client
