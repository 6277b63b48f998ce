#include "daemon/io/buffer_pool.h"

#include "common/text.h"

#include <cerrno>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

namespace riposte {

Result<BufferPool> BufferPool::create(uint32_t count, uint32_t bytes) {
    size_t total = size_t{count} * bytes;
    void* memory = ::mmap(
        nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return fail(
            Exit::os, fmt::format(
                          "no memory for {} buffers of {} bytes: {}; lower "
                          "'connections' or raise the memory limit",
                          count, bytes, errno_text(errno)));
    return BufferPool(static_cast<std::byte*>(memory), count, bytes);
}

BufferPool::BufferPool(std::byte* memory, uint32_t count, uint32_t bytes)
    : memory_(memory), buffer_bytes_(bytes), owner_(count, Owner::pool), free_(count),
      held_{count, 0, 0} {
    std::iota(free_.rbegin(), free_.rend(), BufferId{0}); // buffer 0 is taken first
}

BufferPool::BufferPool(BufferPool&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), buffer_bytes_(other.buffer_bytes_),
      owner_(std::move(other.owner_)), free_(std::move(other.free_)),
      held_{other.held_[0], other.held_[1], other.held_[2]} {}

BufferPool::~BufferPool() {
    if (memory_)
        ::munmap(memory_, owner_.size() * buffer_bytes_);
}

BufferId BufferPool::take(Owner to) noexcept {
    if (free_.empty())
        return no_buffer;
    BufferId id = free_.back();
    free_.pop_back();
    assert(owner_[id] == Owner::pool && to != Owner::pool);
    owner_[id] = to;
    --held_[static_cast<size_t>(Owner::pool)];
    ++held_[static_cast<size_t>(to)];
    return id;
}

void BufferPool::move(BufferId id, Owner from, Owner to) noexcept {
    assert(id < owner_.size());
    assert(owner_[id] == from && from != to && from != Owner::pool);
    owner_[id] = to;
    --held_[static_cast<size_t>(from)];
    ++held_[static_cast<size_t>(to)];
    if (to == Owner::pool)
        free_.push_back(id);
}

void BufferPool::reclaim(Owner from) noexcept {
    for (BufferId id = 0; id < count(); ++id)
        if (owner_[id] == from)
            move(id, from, Owner::pool);
}

Result<DatagramPool> DatagramPool::create(uint32_t count, uint32_t bytes) {
    auto buffers = BufferPool::create(count, bytes);
    if (!buffers)
        return std::unexpected(buffers.error());
    return DatagramPool(std::move(*buffers), count);
}

} // namespace riposte
