#include "client/options/service_names.h"

#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

namespace riposte::client {

namespace {

struct Service {
    std::string_view name;
    uint16_t port;
};
/// The ports of riposted's services, in the units that it comes with, and of the greeting.
constexpr std::array<Service, 7> own_services{
    {{"echo", 7},
     {"discard", 9},
     {"daytime", 13},
     {"chargen", 19},
     {"time", 37},
     {"stamp", 862},
     {"hello", 7001}}};

constexpr size_t name_size_max = 63;
constexpr size_t entry_bytes = 1024; ///< at first; an entry with many aliases needs more
constexpr size_t entry_bytes_max = size_t{1} << 20;

bool is_name(std::string_view text) {
    constexpr std::string_view characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789-_.+*";
    return text.size() <= name_size_max &&
           text.find_first_not_of(characters) == std::string_view::npos;
}

std::optional<uint16_t> system_port(const std::string& name, Transport transport) {
    const std::string protocol(to_string(transport));
    for (std::vector<char> buffer(entry_bytes); buffer.size() <= entry_bytes_max;
         buffer.resize(2 * buffer.size())) {
        servent entry{};
        servent* found = nullptr;
        const int error = ::getservbyname_r(
            name.c_str(), protocol.c_str(), &entry, buffer.data(), buffer.size(), &found);
        if (error == 0 && found != nullptr)
            return ntohs(static_cast<uint16_t>(found->s_port));
        if (error != ERANGE)
            break;
    }
    return std::nullopt;
}

} // namespace

std::expected<uint16_t, std::string> service_port(std::string_view name, Transport transport) {
    constexpr std::string_view advice = "write a number from 0 to 65535, or a service like echo";
    if (name.empty())
        return std::unexpected(fmt::format("the port is empty; {}", advice));
    if (!is_name(name))
        return std::unexpected(fmt::format("'{}' is not a port; {}", escape(name, 32), advice));
    if (const auto port = system_port(std::string(name), transport))
        return *port;
    const auto* const own = std::ranges::find(own_services, name, &Service::name);
    if (own != own_services.end())
        return own->port;
    const Transport other = transport == Transport::tcp ? Transport::udp : Transport::tcp;
    if (const auto port = system_port(std::string(name), other))
        return std::unexpected(fmt::format(
            "'{}' is a service of {}, not of {}; write its number, {}", name, to_string(other),
            to_string(transport), *port));
    std::vector<std::string_view> known;
    known.reserve(own_services.size());
    for (const Service& each : own_services)
        known.push_back(each.name);
    const std::string_view near = nearest(name, known);
    return std::unexpected(
        near.empty() ? fmt::format("'{}' is neither a port nor a known service; {}", name, advice)
                     : fmt::format("unknown service '{}'; did you mean {}?", name, near));
}

} // namespace riposte::client
