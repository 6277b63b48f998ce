#include "client/ping/ping_room.h"

#include "client/net/descriptors.h"
#include "client/ping/ping_account.h"
#include "common/fd.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace riposte::client {

namespace {

/// Histograms of an endpoint: some 40 octaves over all of them, and AboveLeast's first values.
constexpr uint64_t usual_histograms_bytes = 12'288;
constexpr uint64_t socket_bytes = 4096; ///< in the kernel, with its place in the event loop

std::string mebibytes(uint64_t bytes) {
    return fmt::format("{} MiB", bytes >> 20);
}

/// The first bytes of a file of /proc; empty if it cannot be read.
std::string text_of(const char* path) {
    std::array<char, 4096> text{};
    const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
    const ssize_t size = file ? ::read(file.get(), text.data(), text.size()) : -1;
    return {text.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

/// Takes a number and the blanks before it from the front.
std::optional<uint64_t> take_number(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    uint64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc())
        return std::nullopt;
    text.remove_prefix(static_cast<size_t>(read.ptr - text.data()));
    return number;
}

} // namespace

uint64_t ports_in(std::string_view range) {
    const auto first = take_number(range);
    const auto last = take_number(range);
    return first && last && *first <= *last ? *last - *first + 1 : UINT64_MAX;
}

uint64_t available_bytes(std::string_view meminfo) {
    constexpr std::string_view key = "MemAvailable:";
    const size_t at = meminfo.find(key);
    if (at == std::string_view::npos)
        return UINT64_MAX;
    meminfo.remove_prefix(at + key.size());
    const auto kibibytes = take_number(meminfo);
    return kibibytes ? *kibibytes * 1024 : UINT64_MAX;
}

MachineRoom find_room() {
    return {
        .descriptors = raise_descriptor_limit(),
        .ports = ports_in(text_of("/proc/sys/net/ipv4/ip_local_port_range")), // of IPv6 as well
        .memory_bytes = available_bytes(text_of("/proc/meminfo"))};
}

uint64_t endpoint_bytes(const PingOptions& options, uint32_t timeout_ms) {
    const uint64_t window =
        window_for(options.interval_us * 1000, uint64_t{timeout_ms} * 1'000'000);
    return PingAccount::memory_bytes(window, options.payload_bytes) + usual_histograms_bytes +
           socket_bytes * std::max(options.flows, 1U);
}

Result<void> check_room(
    const PingOptions& options, uint32_t timeout_ms, const Wanted& wanted,
    const MachineRoom& room) {
    const size_t endpoints = wanted.endpoints;
    const uint64_t possible =
        std::max<uint64_t>(room.descriptors - std::min(room.descriptors, descriptors_besides), 1);
    const uint64_t sockets = endpoints * std::max<uint64_t>(options.flows, 1);
    if (sockets > possible)
        return fail(
            Exit::usage, fmt::format(
                             "{} endpoints need {} sockets, and {} are possible here: the limit of "
                             "open files is "
                             "{} (ulimit -Hn)",
                             endpoints, sockets, possible, room.descriptors));
    if (wanted.datagram_endpoints > room.ports)
        return fail(
            Exit::usage,
            fmt::format(
                "{} endpoints over UDP need a local port each, and {} are possible here: measure "
                "fewer at once, or widen net.ipv4.ip_local_port_range (sysctl)",
                wanted.datagram_endpoints, room.ports));
    const uint64_t bytes = endpoints * endpoint_bytes(options, timeout_ms);
    if (bytes <= room.memory_bytes)
        return {};
    return fail(
        Exit::usage,
        fmt::format(
            "{} endpoints need some {} of memory, and {} are available (free -m): measure fewer at "
            "once, or choose a longer -i or a shorter -W",
            endpoints, mebibytes(bytes), mebibytes(room.memory_bytes)));
}

} // namespace riposte::client
