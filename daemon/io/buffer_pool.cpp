#include "daemon/io/buffer_pool.h"

#include "common/text.h"

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace riposte {

Result<BufferPool> BufferPool::create(uint32_t count, uint32_t bytes) {
    size_t total = size_t{count} * bytes;
    void* memory = ::mmap(
        nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return fail(
            Exit::os, fmt::format(
                          "cannot reserve memory for {} buffers of {} bytes: {}; lower "
                          "'buffer_memory' or raise the memory limit",
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
      held_{other.held_[0], other.held_[1], other.held_[2]}, touched_end_(other.touched_end_),
      used_since_trim_(other.used_since_trim_) {}

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
    touched_end_ = std::max(touched_end_, id + 1);
    used_since_trim_ = true;
    return id;
}

void BufferPool::trim(uint32_t keep) noexcept {
    const size_t warm = free_.size() - std::min<size_t>(keep, free_.size());
    // Only whole pages: a page that a buffer shares with its neighbour stays.
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    for (BufferId id : std::span(free_).first(warm)) {
        const size_t begin = (size_t{id} * buffer_bytes_ + page - 1) / page * page;
        const size_t end = (size_t{id} + 1) * buffer_bytes_ / page * page;
        if (id < touched_end_ && begin < end)
            ::madvise(memory_ + begin, end - begin, MADV_DONTNEED);
    }
    // Only buffers that are warm or in use can have touched memory now.
    touched_end_ = 0;
    for (BufferId id : std::span(free_).subspan(warm))
        touched_end_ = std::max(touched_end_, id + 1);
    for (BufferId id = count(); id-- > touched_end_;)
        if (owner_[id] != Owner::pool)
            touched_end_ = id + 1;
    used_since_trim_ = false;
}

void BufferPool::move(BufferId id, Owner from, Owner to) noexcept {
    assert(id < owner_.size());
    assert(owner_[id] == from && from != to && from != Owner::pool);
    owner_[id] = to;
    --held_[static_cast<size_t>(from)];
    ++held_[static_cast<size_t>(to)];
    if (to != Owner::pool)
        return;
    free_.push_back(id);
    used_since_trim_ = true;
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
