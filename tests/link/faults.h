// The faults of one direction of the link, as its command line states them.
//
// A fault of single packets chooses them by number: the packets of a direction that faults may
// change ("subjects") are counted from 1. The choice depends only on the seed, the direction, the
// fault and that number, never on time: the same seed chooses the same numbers in each run.
//
// As text, KEY=VALUE separated by commas; times in nanoseconds, sizes in bytes:
//
//     subjects=all|payload     UDP, TCP and ICMP echo, or only those with a payload
//
//     loss=SHARE  loss.every=N  loss.list=1:5:7
//                              any of the three; each of the following faults has them, too:
//     duplicate                duplicate.copies=1: the number of copies, right behind the packet
//     hold                     hold.for=1: until this number of later subjects has passed;
//                              hold.max=NS: for at most this time
//     slow                     slow.extra=NS: this much longer than the others
//     corrupt                  a bit of the payload, corrupt.at=OFFSET; corrupt.mend=1 (default):
//                              with a corrected checksum, so that the packet arrives; 0: the
//                              receiving kernel drops it
//     resize                   resize.to=BYTES of payload: cut, or filled up with 0xee; UDP only
//
//     delay=NS
//     jitter=NS                jitter.kind=uniform: from -NS to +NS;
//                              normal: NS is the standard deviation, cut at 4 of them;
//                              exponential: added, NS on average, cut at 10 times NS;
//                              a packet never leaves before it came
//     order=0|1                1: jitter never lets a packet overtake another
//     rate=BITS                a second, of IP packets
//     queue=PACKETS            that wait for the rate (1000); more are dropped
//     mtu=BYTES                of IP packets
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::link {

enum class Fault : uint8_t { loss, duplicate, hold, slow, corrupt, resize };
inline constexpr size_t fault_count = 6;

struct Choice {
    double share = 0;
    uint64_t every = 0;
    std::vector<uint64_t> list; // ascending
};

enum class Jitter : uint8_t { uniform, normal, exponential };

struct Faults {
    bool payload_only = false;
    Choice choices[fault_count];
    uint64_t copies = 1;
    uint64_t hold_for = 1;
    int64_t hold_max_ns = 1'000'000'000;
    int64_t slow_extra_ns = 0;
    bool corrupt_mend = true;
    std::optional<uint64_t> corrupt_at;
    uint64_t resize_to = 0;
    int64_t delay_ns = 0;
    int64_t jitter_ns = 0;
    Jitter jitter = Jitter::uniform;
    bool keep_order = false;
    uint64_t rate_bits = 0;
    uint64_t queue = 1000;
    uint64_t mtu = 0;

    const Choice& choice(Fault fault) const { return choices[static_cast<size_t>(fault)]; }
};

/// On failure returns nothing, and sets `error` to the reason, which quotes the text.
std::optional<Faults> read_faults(std::string_view text, std::string& error);

/// Numbers in [0, 1) for a direction; the same arguments give the same number.
class Dice {
public:
    Dice(uint64_t seed, uint8_t direction) : seed_(seed), direction_(direction) {}

    bool chosen(const Faults& faults, Fault fault, uint64_t number) const;
    int64_t jitter_ns(const Faults& faults, uint64_t number) const;
    /// The index of one of `bits` bits.
    uint64_t bit(uint64_t bits, uint64_t number) const;

private:
    double roll(uint64_t kind, uint64_t number) const;

    uint64_t seed_;
    uint8_t direction_;
};

} // namespace riposte::link
