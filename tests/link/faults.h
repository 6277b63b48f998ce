// What a direction of the link does to packets, as its command line says.
//
// Each fault that befalls single packets is chosen by number: the packets of a direction that
// faults may befall ("subjects") are counted from 1. Whether one is chosen depends on the seed, the
// direction, the fault and that number alone, never on time: the same seed chooses the same numbers
// in each run.
//
// As text, KEY=VALUE with commas between; times in nanoseconds, sizes in bytes:
//
//     subjects=all|payload      UDP, TCP and ICMP echo; or only those of them that carry a payload
//     loss=SHARE  loss.every=N  loss.list=1:5:7      any of the three; each fault has them:
//     duplicate, duplicate.copies=1                  so many more, right behind the first
//     hold, hold.for=1, hold.max=NS                  until so many later subjects passed, at most
//     that long slow, slow.extra=NS                            so much longer than the others
//     corrupt, corrupt.mend=0|1, corrupt.at=OFFSET   a bit of the payload; with 1 (unless told) the
//     checksum is
//                                                    mended and it arrives, with 0 the receiving
//                                                    kernel drops it
//     resize, resize.to=BYTES                        of payload: cut, or filled up with 0xee; UDP
//     only delay=NS jitter=NS  jitter.kind=uniform|normal|exponential
//                   uniform: from -NS to +NS. normal: NS is the standard deviation, cut at 4 of
//                   them. exponential: added, NS on the average, cut at 10 of them. Never earlier
//                   than at once.
//     order=0|1     1: jitter never lets one overtake another
//     rate=BITS     a second, of IP packets; queue=PACKETS that wait for it (1000), more are
//     dropped mtu=BYTES     of IP packets
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

/// Sets `error` to what is wrong, with the words of the text, and returns nothing then.
std::optional<Faults> read_faults(std::string_view text, std::string& error);

/// Numbers in [0, 1) of a direction, the same for the same arguments.
class Dice {
public:
    Dice(uint64_t seed, uint8_t direction) : seed_(seed), direction_(direction) {}

    bool chosen(const Faults& faults, Fault fault, uint64_t number) const;
    int64_t jitter_ns(const Faults& faults, uint64_t number) const;
    /// Which bit of so many.
    uint64_t bit(uint64_t bits, uint64_t number) const;

private:
    double roll(uint64_t kind, uint64_t number) const;

    uint64_t seed_;
    uint8_t direction_;
};

} // namespace riposte::link
