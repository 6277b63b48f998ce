// A list of targets in the format of Prometheus' file_sd, in JSON, so that one file serves both:
//
//     [{"targets": ["db7.example.net:7007", "[2001:db8::7]:7007"],
//       "labels": {"site": "fra", "rack": "r1"}}, ...]
//
// A target is HOST:PORT without a scheme: the configuration says by which transports it is probed.
// Labels whose names begin with "__" are for Prometheus' relabelling, and are left out. What is not
// understood refuses the whole list, so that a file that is half written or damaged is never taken
// for a shorter one. Everything is bounded: the text by its reader, targets and labels here.
#pragma once

#include "client/probe/labels.h"
#include "common/endpoint.h"

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

inline constexpr size_t target_list_bytes_max = size_t{32} << 20; ///< of a file
inline constexpr size_t listed_targets_max = 100'000;             ///< of all lists together
inline constexpr size_t target_labels_max = 32;
inline constexpr size_t label_bytes_max = 512; ///< of a name, and of a value
/// Of names and values, counted for each target: exporters write them for each.
inline constexpr size_t list_label_bytes_max = size_t{64} << 20;

struct ListedTarget {
    std::string name;  ///< as it is written
    Endpoint endpoint; ///< without a transport; the host in canonical spelling
    Labels labels;

    bool operator==(const ListedTarget&) const = default;
};

/// Does Prometheus take it as the name of a label?
bool is_label_name(std::string_view name);
inline constexpr std::string_view label_name_rule =
    "a label's name is made of letters, digits and _, and does not begin with a digit";

/// Is it the address of a group of hosts (multicast), or a broadcast? A prober sends to none of
/// these: one probe would have many replies. `host` is a name, or an address in canonical spelling.
bool is_group_address(std::string_view host);

/// The targets in their order. The error is one line without the name of the list: where in it the
/// fault is, and what would be right.
std::expected<std::vector<ListedTarget>, std::string> parse_target_list(std::string_view text);

} // namespace riposte::client
