// The pattern is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one multiply-and-shift chain for
// eight bytes, so that making a probe again to verify its answer costs about as much as reading it.
// A shorter probe of the same session and sequence number is the beginning of a longer one.
#include "client/measure/probe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>

namespace riposte::client {

namespace {

constexpr std::array magic = {std::byte{'R'}, std::byte{'i'}, std::byte{'P'}, std::byte{'o'}};
constexpr size_t session_at = 4;
constexpr size_t sequence_at = 8;
constexpr size_t sent_at = 16;
static_assert(sent_at + sizeof(uint64_t) == probe_header_bytes);

/// To big-endian, and back.
template<class T>
T swapped(T value) {
    return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

template<class T>
void store(std::byte* to, T value) {
    const T wire = swapped(value);
    std::memcpy(to, &wire, sizeof(wire));
}

template<class T>
T load(const std::byte* from) {
    T wire = 0;
    std::memcpy(&wire, from, sizeof(wire));
    return swapped(wire);
}

uint64_t mix(uint64_t state) {
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9U;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebU;
    return state ^ (state >> 31);
}

constexpr uint64_t key_step = 0x9e3779b97f4a7c15U;

} // namespace

void write_probe(std::span<std::byte> out, const ProbeHeader& header) {
    assert(out.size() >= probe_header_bytes);
    std::ranges::copy(magic, out.begin());
    store(out.data() + session_at, header.session);
    store(out.data() + sequence_at, header.sequence);
    store(out.data() + sent_at, header.sent_ns);

    // Mixed apart, lest the next sequence number's pattern be this one's, a step further on.
    uint64_t state = mix(mix(header.sequence + key_step) ^ header.session);
    auto pattern = out.subspan(probe_header_bytes);
    for (; pattern.size() >= sizeof(state); pattern = pattern.subspan(sizeof(state)))
        store(pattern.data(), mix(state += key_step));
    std::array<std::byte, sizeof(state)> last{};
    store(last.data(), mix(state + key_step));
    std::ranges::copy_n(last.begin(), std::ssize(pattern), pattern.begin());
}

std::optional<ProbeHeader> read_probe_header(std::span<const std::byte> bytes) {
    if (bytes.size() < probe_header_bytes || !std::ranges::equal(bytes.first(magic.size()), magic))
        return std::nullopt;
    return ProbeHeader{
        .session = load<uint32_t>(bytes.data() + session_at),
        .sequence = load<uint64_t>(bytes.data() + sequence_at),
        .sent_ns = load<uint64_t>(bytes.data() + sent_at)};
}

size_t matching_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
    const size_t size = std::min(a.size(), b.size());
    size_t matching = 0;
    for (size_t at = 0; at < size; ++at)
        matching += static_cast<size_t>(a[at] == b[at]);
    return matching;
}

bool resembles(std::span<const std::byte> answer, std::span<const std::byte> probe) {
    return matching_bytes(answer, probe) * 2 > std::min(answer.size(), probe.size());
}

bool MostAlike::is_unmistakable(uint64_t sequence, std::span<const std::byte> probe) {
    const size_t matching = matching_bytes(common_, probe);
    if (matching > most_) {
        best_ = sequence;
        most_ = matching;
    }
    // Another probe has at best the header and what is damaged here.
    return most_ == common_.size() || most_ * 2 > common_.size() + probe_header_bytes;
}

} // namespace riposte::client
