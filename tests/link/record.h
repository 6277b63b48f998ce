// The log of the link: a file of fixed records, one for each packet that came or was made, in order
// of arrival. It is mapped, and a record is completed in place when its packet leaves: readers see
// the current state of each packet, even after the link was killed. tests/support/link.py reads it.
//
// A page with the header comes first. Numbers have the machine's byte order, which is
// little-endian.
#pragma once

#include <cstdint>
#include <string>

namespace riposte::link {

enum class Fate : uint8_t {
    waiting = 0,     // in the link, or it was when the link ended
    passed = 1,      // left on the other side
    lost = 2,        // by the fault `loss`
    queue_full = 3,  // more packets came than the rate permits
    too_big = 4,     // for the MTU; with an ICMP error to the sender, if the protocol permits one
    overrun = 5,     // more in flight than the link holds
    send_failed = 6, // the kernel refused it
    replaced = 7,    // by its fragments, which have records of their own
};

inline constexpr uint16_t flag_copy = 1;       // a duplicate; `packet` is that of the first
inline constexpr uint16_t flag_held = 2;       // until later packets had passed
inline constexpr uint16_t flag_hold_ended = 4; // by time: too few later packets came
inline constexpr uint16_t flag_slow = 8;
inline constexpr uint16_t flag_corrupted = 16;
inline constexpr uint16_t flag_bad_checksum = 32; // additionally: the receiving kernel drops it
inline constexpr uint16_t flag_resized = 64;
inline constexpr uint16_t flag_made_here = 128; // the link's own ICMP
inline constexpr uint16_t flag_fragment = 256;  // made by the link, of the larger `packet`

struct Record {
    int64_t in_ns = 0;         // CLOCK_MONOTONIC: the kernel's timestamp of its arrival
    int64_t due_ns = 0;        // when it has to leave; 0: never
    int64_t out_before_ns = 0; // CLOCK_MONOTONIC right before and after the call that sent it: the
    int64_t out_after_ns = 0;  // receiving kernel's timestamp lies between the two
    uint64_t number = 0;       // among the subjects of its direction, from 1; 0: not a subject
    uint32_t packet = 0;       // index of the record that this one was made from, or its own
    uint32_t tcp_seq = 0;      // ICMP echo: identifier and sequence number
    uint32_t tcp_ack = 0;
    uint16_t flags = 0;
    uint16_t length = 0; // of the IP packet, as it came
    uint16_t source_port = 0;
    uint16_t destination_port = 0;
    uint16_t payload_length = 0;
    uint16_t fragment_offset = 0; // bytes
    uint8_t direction = 0;        // 0: forward, from client to server
    uint8_t family = 0;           // 4 or 6
    uint8_t protocol = 0;         // IP protocol number of what is in it
    Fate fate = Fate::waiting;
    uint8_t copy = 0; // 0: the first
    uint8_t tcp_flags = 0;
    uint8_t icmp_type = 0;
    uint8_t icmp_code = 0;
    uint8_t payload[24] = {}; // its first bytes, as they came
};
static_assert(sizeof(Record) == 96);

struct LogHead {
    char magic[8] = {'R', 'i', 'L', 'i', 'n', 'k', '0', '1'};
    uint32_t record_bytes = sizeof(Record);
    uint32_t records_max = 0;
    uint64_t count = 0;
    uint64_t socket_drops[2] = {
        0, 0};             // what the kernel dropped before the link saw it, by direction
    uint32_t realtime = 0; // 1: the link runs before ordinary processes
    uint32_t ended = 0;    // 1: by itself, not killed
};
inline constexpr uint64_t log_head_bytes = 4096;

class Log {
public:
    Log() = default;
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    /// Makes the file anew; false with errno.
    bool open(const std::string& path, uint32_t records_max);

    LogHead& head() { return *head_; }
    bool full() const { return head_->count >= head_->records_max; }

    /// Its index; the log must not be full.
    uint32_t add(const Record& record);
    Record& operator[](uint32_t index) { return records_[index]; }

private:
    LogHead* head_ = nullptr;
    Record* records_ = nullptr;
    uint64_t bytes_ = 0;
};

} // namespace riposte::link
