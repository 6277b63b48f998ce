#include "client/measure/tcp_info.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
// Not <netinet/tcp.h>: its tcp_info ends before the fields that are wanted here.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

namespace {

/// The kernel sends no SYN again before a second, unless a route says otherwise.
constexpr uint64_t handshake_prompt_ns = 100'000'000;

/// TCP_CLOSE of <netinet/tcp.h>.
constexpr uint8_t tcp_close = 7;

/// The field, if the kernel's structure is long enough to have it.
template<class Field>
Field field_of(const tcp_info& info, size_t bytes, Field tcp_info::* field) {
    const auto* const place = reinterpret_cast<const std::byte*>(&(info.*field));
    const auto* const start = reinterpret_cast<const std::byte*>(&info);
    const auto end = static_cast<size_t>(place - start) + sizeof(Field);
    return end <= bytes ? info.*field : Field{};
}

} // namespace

std::string_view to_key(CongestionState state) {
    constexpr std::array<std::string_view, 5> keys{"open", "disorder", "cwr", "recovery", "loss"};
    return keys.at(static_cast<size_t>(state));
}

TcpReading read_tcp_info(const void* kernel_info, size_t bytes) {
    tcp_info info{};
    std::memcpy(&info, kernel_info, std::min(bytes, sizeof(info)));
    const uint32_t retransmits = field_of(info, bytes, &tcp_info::tcpi_total_retrans);
    const uint32_t data_segments = field_of(info, bytes, &tcp_info::tcpi_data_segs_out);
    const uint32_t min_rtt_us = field_of(info, bytes, &tcp_info::tcpi_min_rtt);
    const uint32_t rtt_us = field_of(info, bytes, &tcp_info::tcpi_rtt);
    const auto state = std::min(info.tcpi_ca_state, uint8_t{4});
    TcpReading reading{
        .retransmits = retransmits,
        .segments_sent = uint64_t{data_segments} + 1, // and the SYN
        .min_rtt_ns = min_rtt_us == UINT32_MAX ? 0 : uint64_t{min_rtt_us} * 1000,
        .smoothed_rtt_ns = uint64_t{rtt_us} * 1000,
        .state = static_cast<CongestionState>(state),
        .bytes_acked = field_of(info, bytes, &tcp_info::tcpi_bytes_acked),
        .delivery_rate = field_of(info, bytes, &tcp_info::tcpi_delivery_rate),
        .busy_ns = field_of(info, bytes, &tcp_info::tcpi_busy_time) * 1000,
        .peer_limited_ns = field_of(info, bytes, &tcp_info::tcpi_rwnd_limited) * 1000,
        .buffer_limited_ns = field_of(info, bytes, &tcp_info::tcpi_sndbuf_limited) * 1000,
        .out_of_order = field_of(info, bytes, &tcp_info::tcpi_rcv_ooopack),
        .receive_rtt_ns = uint64_t{field_of(info, bytes, &tcp_info::tcpi_rcv_rtt)} * 1000,
        .is_closed = info.tcpi_state == tcp_close};
    return reading;
}

std::optional<TcpReading> read_tcp_info(int fd) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return std::nullopt;
    return read_tcp_info(&info, size);
}

std::string congestion_algorithm(int fd) {
    std::array<char, 64> name{};
    socklen_t size = name.size() - 1;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) < 0)
        return "";
    return name.data();
}

std::optional<double> TcpTotals::smoothed_rtt_ns() const {
    if (smoothed_weight_ == 0)
        return std::nullopt;
    return smoothed_sum_ns_ / smoothed_weight_;
}

void TcpTotals::add(const TcpReading& reading) {
    connections++;
    retransmits += reading.retransmits;
    segments_sent += reading.segments_sent;
    state = std::max(state, reading.state);
    if (reading.min_rtt_ns > 0)
        min_rtt_ns = std::min(min_rtt_ns.value_or(UINT64_MAX), reading.min_rtt_ns);
    if (reading.smoothed_rtt_ns > 0) {
        const auto weight = static_cast<double>(reading.segments_sent);
        smoothed_sum_ns_ += weight * static_cast<double>(reading.smoothed_rtt_ns);
        smoothed_weight_ += weight;
    }
}

void TcpTotals::add_socket(int fd, bool connected) {
    const auto reading = read_tcp_info(fd);
    if (!reading)
        return;
    if (congestion.empty())
        congestion = congestion_algorithm(fd);
    TcpReading counted = *reading;
    if (!connected) {
        handshake_retransmits += counted.retransmits;
        counted.segments_sent += counted.retransmits; // all are SYNs
    }
    add(counted);
}

void TcpTotals::note_connected(int fd, uint64_t took_ns) {
    if (took_ns < handshake_prompt_ns)
        return;
    if (const auto reading = read_tcp_info(fd)) {
        handshake_retransmits += reading->retransmits;
        segments_sent += reading->retransmits; // data_segs_out has no SYN
    }
}

void TcpTotals::observe(int fd) {
    if (const auto reading = read_tcp_info(fd))
        state = std::max(state, reading->state);
}

} // namespace riposte::client
