// RFC 864, Character Generator Protocol. Over TCP the service sends an endless stream of lines, as
// fast as the peer reads, and discards what the peer sends. A line is 72 of the 95 printable ASCII
// characters in a ring; the next line starts one character later. Over UDP the RFC asks for 0 to
// 512 characters; we send the start of the pattern, at most as many bytes as the request has.
#include "daemon/services/services.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace riposte {
namespace {

constexpr uint64_t ring = 95; // ' ' to '~'
constexpr uint64_t line_chars = 72;
constexpr uint64_t line_bytes = line_chars + 2; // CR LF
constexpr uint64_t period = ring * line_bytes;  // the pattern repeats after so many bytes
constexpr size_t datagram_max = 512;

constexpr char pattern_at(uint64_t position) {
    uint64_t line = position / line_bytes;
    uint64_t column = position % line_bytes;
    if (column == line_chars)
        return '\r';
    if (column == line_chars + 1)
        return '\n';
    return static_cast<char>(' ' + (line + column) % ring);
}

/// One period, computed by the compiler: copying it is several times faster than computing it.
constexpr auto pattern = [] {
    std::array<char, period> all{};
    for (uint64_t i = 0; i < period; ++i)
        all[i] = pattern_at(i);
    return all;
}();

void fill(std::span<std::byte> out, uint64_t position) {
    while (!out.empty()) {
        size_t size = std::min(out.size(), period - position);
        std::memcpy(out.data(), &pattern[position], size);
        out = out.subspan(size);
        position = (position + size) % period;
    }
}

class Chargen final : public Service {
public:
    bool speaks_first() const noexcept override { return true; }

    StreamReply writable(const ServiceContext&, StreamState& state, std::span<std::byte> buffer)
        const noexcept override {
        fill(buffer, state.cursor);
        state.cursor = (state.cursor + buffer.size()) % period;
        return {.size = static_cast<uint32_t>(buffer.size()), .finish = false};
    }

    DatagramReply datagram(
        const ServiceContext&, std::span<std::byte> datagram) const noexcept override {
        size_t size = std::min(datagram.size(), datagram_max);
        fill(datagram.first(size), 0);
        return {DatagramReply::Verdict::send, static_cast<uint32_t>(size)};
    }
};

} // namespace

std::shared_ptr<const Service> make_chargen() {
    return std::make_shared<Chargen>();
}

} // namespace riposte
