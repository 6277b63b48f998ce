#include "client/options/dscp.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace riposte::client {

namespace {

struct Named {
    std::string_view name;
    uint8_t dscp;
};

/// Of two names of one value the first is printed.
constexpr std::array dscp_names{
    Named{"be", 0},    Named{"cs0", 0},   Named{"le", 1},    Named{"cs1", 8},   Named{"af11", 10},
    Named{"af12", 12}, Named{"af13", 14}, Named{"cs2", 16},  Named{"af21", 18}, Named{"af22", 20},
    Named{"af23", 22}, Named{"cs3", 24},  Named{"af31", 26}, Named{"af32", 28}, Named{"af33", 30},
    Named{"cs4", 32},  Named{"af41", 34}, Named{"af42", 36}, Named{"af43", 38}, Named{"cs5", 40},
    Named{"va", 44},   Named{"ef", 46},   Named{"cs6", 48},  Named{"cs7", 56}};

char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

} // namespace

std::optional<uint8_t> parse_dscp_name(std::string_view name) {
    const auto* const found = std::ranges::find_if(dscp_names, [&](const Named& each) {
        return std::ranges::equal(each.name, name, {}, {}, lower);
    });
    return found == dscp_names.end() ? std::nullopt : std::optional(found->dscp);
}

std::string dscp_text(uint8_t dscp) {
    const auto* const found = std::ranges::find(dscp_names, dscp, &Named::dscp);
    return found == dscp_names.end() ? fmt::format("{}", dscp) : std::string(found->name);
}

} // namespace riposte::client
