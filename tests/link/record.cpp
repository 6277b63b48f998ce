#include "record.h"

#include <atomic>
#include <cassert>
#include <new>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace riposte::link {

bool Log::open(const std::string& path, uint32_t records_max) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bytes_ = log_head_bytes + uint64_t{records_max} * sizeof(Record);
    void* memory = MAP_FAILED;
    if (ftruncate(fd, static_cast<off_t>(bytes_)) == 0)
        memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return false;
    head_ = new (memory) LogHead{};
    head_->records_max = records_max;
    records_ = reinterpret_cast<Record*>(static_cast<char*>(memory) + log_head_bytes);
    return true;
}

Log::~Log() {
    if (head_)
        munmap(head_, bytes_);
}

uint32_t Log::add(const Record& record) {
    assert(!full());
    const auto index = static_cast<uint32_t>(head_->count);
    records_[index] = record;
    std::atomic_ref(head_->count).store(index + uint64_t{1}, std::memory_order_release);
    return index;
}

} // namespace riposte::link
