// One direction of the link: the fate of each packet, and the time at which it leaves. It has
// neither sockets nor a clock: times are arguments (CLOCK_MONOTONIC, ns).
//
// A packet's delay begins at the kernel's timestamp, not when the link reads the packet: if the
// link is late itself, it shortens the rest of the delay as far as possible.
//
// In this order: lost; too big for the MTU; queue full; resized; corrupted; delay, jitter and
// slowness give the due time; copies are due at the same time, right behind the packet. Held
// packets stay after their due time until enough later subjects have left. Packets that are not
// subjects are only delayed, and count towards rate and MTU.
#pragma once

#include "faults.h"
#include "packet.h"
#include "record.h"

#include <deque>
#include <map>
#include <utility>

namespace riposte::link {

struct Departure {
    int64_t due_ns = 0;
    uint32_t record = 0;
    bool hold = false;
    uint64_t later = 0; // while it is held: how many more must leave
    Bytes bytes;
};

class Direction {
public:
    Direction(uint8_t number, uint64_t seed, Log& log)
        : number_(number), dice_(seed, number), log_(log) {}

    /// From the next packet on.
    void set(const Faults& faults, const Router& router);

    /// Returns an ICMP error for the sender, or nothing (empty).
    Bytes arrive(Bytes packet, int64_t at_ns);

    /// A packet of the link's own.
    void send_own(Bytes packet, int64_t at_ns);

    /// The due time of the next packet; INT64_MAX if there is none.
    int64_t next_due() const;

    /// The packet that leaves now, or nothing. left() must follow.
    std::optional<Departure> leave(int64_t now_ns);
    void left(const Departure& departure, bool sent, int64_t before_ns, int64_t after_ns);

private:
    void pass(Bytes packet, const Layout& layout, uint32_t index);
    Bytes refuse_size(const Bytes& packet, const Record& record, uint32_t index);
    bool queue_has_room(size_t bytes, int64_t& at_ns);
    void enqueue(Departure departure);

    uint8_t number_;
    Dice dice_;
    Log& log_;
    Faults faults_;
    Router router_;
    uint64_t subjects_ = 0;
    std::deque<int64_t> transmitted_; // when each packet in the queue will have been
    int64_t last_due_ns_ = 0;
    uint64_t order_ = 0;
    std::map<std::pair<int64_t, uint64_t>, Departure>
        waiting_; // by due time, then by order of coming
    std::vector<Departure> held_;
};

} // namespace riposte::link
