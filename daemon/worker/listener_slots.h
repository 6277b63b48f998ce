// The sockets that one worker is lent: which are armed, which pause, which leave.
//
// A listener has a place from the plan that brings it to the last connection that it accepted, and
// the place stays where it is: connections point to it. A planned listener has a stream in flight
// (accept, or receive_from) unless it pauses after an error or starves for a datagram buffer. A
// listener that the plan lacks is told to stop, and its place is free when nothing of it is in
// flight and none of its connections is open. Its descriptor is its owner's (listeners.h).
#pragma once

#include "daemon/core/timer_wheel.h"
#include "daemon/io/backend.h"
#include "daemon/io/turn.h"
#include "daemon/listen/listener_slot.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace riposte {

class ListenerSlots {
public:
    /// After an error that is not the peer's, a listener pauses for so long, or until a connection
    /// is closed.
    static constexpr uint32_t pause_ms = 500;

    explicit ListenerSlots(Turn& turn) noexcept : turn_(turn) {}

    /// Places for so many more than are used. Throws std::bad_alloc; more places change nothing.
    void reserve(size_t count);
    /// Arms the new listeners, stops those that `planned` lacks; of the others the service and its
    /// options may be new.
    void apply(std::vector<ListenerSpec> planned);
    void leave_all();
    /// Nothing is in flight on those that leave.
    bool settled() const noexcept;

    /// The listener that an event is for.
    ListenerSlot& of(const Event& event) noexcept;
    /// The planned one of this id; null if there is none.
    ListenerSlot* find(uint64_t id) noexcept;
    /// The listener of an event that may come when it has left; null if it has.
    ListenerSlot* find(Token token) noexcept;

    /// Gives its stream, unless there is a reason not to.
    void arm(ListenerSlot& listener);
    void pause(ListenerSlot& listener) noexcept;
    /// After a turn: re-arms those whose pause is over, or all if an fd became free.
    void resume(bool fd_freed);
    /// When the first pause is over.
    uint64_t resume_ms() const noexcept { return resume_ms_; }

    /// It waits for a datagram buffer.
    void starve(ListenerSlot& listener) noexcept { listener.starved = starving_ = true; }
    /// When a datagram buffer may have come back.
    void wake_starved();
    /// send_to operations in flight.
    uint32_t replies() const noexcept;

    /// After anything of it has ended.
    void forget_if_done(ListenerSlot& listener) noexcept;

private:
    void add(ListenerSpec socket);
    void leave(ListenerSlot& listener);
    ListenerSlot& free_place();

    Turn& turn_;
    std::deque<ListenerSlot> places_; ///< stay where they are
    uint64_t resume_ms_ = TimerWheel::never;
    bool starving_ = false; ///< some listener waits for a datagram buffer
};

} // namespace riposte
