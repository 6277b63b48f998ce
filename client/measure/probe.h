// The bytes of a probe, which an echo sends back: a header, and a pattern that depends on it.
//
//     0  magic "RiPo"            4 bytes
//     4  session                 4 bytes, random, one for each endpoint of a run
//     8  sequence number         8 bytes, from 1
//    16  time of sending         8 bytes, CLOCK_MONOTONIC in nanoseconds
//    24  pattern                 pseudo-random bytes made from session and sequence number
//
// All big-endian. Nothing is read from an answer that could not be computed again: with
// session, sequence number and time of sending the sender writes the same bytes again, and verifies
// an answer byte for byte. The pattern makes any two probes differ in nearly every byte, so that a
// damaged answer still shows which probe it answers, and differs from an answer to another sender's
// probe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace riposte::client {

inline constexpr size_t probe_header_bytes = 24;

struct ProbeHeader {
    uint32_t session = 0;
    uint64_t sequence = 0;
    uint64_t sent_ns = 0;

    bool operator==(const ProbeHeader&) const = default;
};

/// Fills all of `out` (at least probe_header_bytes).
void write_probe(std::span<std::byte> out, const ProbeHeader& header);

/// The header, if there is one with our magic. It may still be damaged, or another sender's.
std::optional<ProbeHeader> read_probe_header(std::span<const std::byte> bytes);

/// How many bytes are the same at the same place, over the shorter of the two.
size_t matching_bytes(std::span<const std::byte> a, std::span<const std::byte> b);

/// Does `answer` come from `probe`, damaged or cut as it may be? More than half of the bytes that
/// both have are the same; of random bytes one in 256 is. An empty answer decides nothing: false.
bool resembles(std::span<const std::byte> answer, std::span<const std::byte> probe);

/// The search for the probe that a damaged answer resembles most. All probes look alike in much of
/// their header, so that of short ones all have to be held against the answer; a longer one's
/// pattern is unmistakable.
class MostAlike {
public:
    /// `common`: the beginning of the answer, no longer than a probe.
    explicit MostAlike(std::span<const std::byte> common)
        : common_(common), most_(common.size() / 2) {}

    /// Holds the answer against a probe of that sequence number, `probe` being as much of it. True:
    /// it is the one, no other can resemble it more.
    bool is_unmistakable(uint64_t sequence, std::span<const std::byte> probe);
    /// The sequence number of the best so far that resembles it at all; 0: none.
    uint64_t best() const { return best_; }

private:
    std::span<const std::byte> common_;
    size_t most_;
    uint64_t best_ = 0;
};

} // namespace riposte::client
