#include "daemon/tcp/send_queue.h"

#include <cassert>
#include <cstring>

namespace riposte {

bool SendQueues::append(
    SendQueue& queue, BufferId buffer, uint32_t size, uint64_t since_ns) noexcept {
    assert(size > 0 && pool_.owner(buffer) == Owner::worker);
    queue.bytes += size;
    if (queue.tail != no_buffer && size <= pool_.buffer_bytes() - chunks_[queue.tail].end) {
        Chunk& last = chunks_[queue.tail];
        std::memcpy(pool_.bytes(queue.tail).data() + last.end, pool_.bytes(buffer).data(), size);
        last.end += size;
        return false;
    }
    chunks_[buffer] = {.next = no_buffer, .begin = 0, .end = size, .since_ns = since_ns};
    if (queue.tail == no_buffer)
        queue.head = buffer;
    else
        chunks_[queue.tail].next = buffer;
    queue.tail = buffer;
    return true;
}

BufferId SendQueues::consume(SendQueue& queue, uint32_t size) noexcept {
    Chunk& first = chunks_[queue.head];
    assert(size <= first.end - first.begin && size <= queue.bytes);
    first.begin += size;
    queue.bytes -= size;
    return first.begin == first.end ? drop(queue, false) : no_buffer;
}

BufferId SendQueues::drop(SendQueue& queue, bool first_in_flight) noexcept {
    if (queue.head == no_buffer)
        return no_buffer;
    BufferId& link = first_in_flight ? chunks_[queue.head].next : queue.head;
    BufferId dropped = link;
    if (dropped == no_buffer)
        return no_buffer;
    queue.bytes -= chunks_[dropped].end - chunks_[dropped].begin;
    link = chunks_[dropped].next;
    if (link == no_buffer)
        queue.tail = first_in_flight ? queue.head : no_buffer;
    return dropped;
}

} // namespace riposte
