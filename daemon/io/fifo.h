// A queue in one piece of memory, whose size goes by how much was in it at once, and not by how
// long it was never empty.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <span>
#include <vector>

namespace riposte {

template<class T>
class Fifo {
public:
    explicit Fifo(size_t reserve = 1024) { items_.reserve(reserve); }

    bool empty() const noexcept { return begin_ == items_.size(); }
    size_t size() const noexcept { return items_.size() - begin_; }
    size_t capacity() const noexcept { return items_.capacity(); }

    void push(const T& item) { items_.push_back(item); }

    /// Room for `count` items, to be written before anything else is called.
    std::span<T> extend(size_t count) {
        const size_t end = items_.size();
        items_.resize(end + count);
        return std::span(items_).subspan(end);
    }

    T pop() noexcept {
        assert(!empty());
        const T item = items_[begin_];
        drop(1);
        return item;
    }

    /// Moves as many as fit, the oldest first.
    size_t deliver(std::span<T> out) noexcept {
        const size_t count = std::min(out.size(), size());
        std::copy_n(items_.begin() + static_cast<std::ptrdiff_t>(begin_), count, out.begin());
        drop(count);
        return count;
    }

private:
    /// What is left moves to the front when it is less than what was taken: on average, no item
    /// moves more than once.
    void drop(size_t count) noexcept {
        begin_ += count;
        if (begin_ <= items_.size() / 2)
            return;
        items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(begin_));
        begin_ = 0;
    }

    std::vector<T> items_;
    size_t begin_ = 0; ///< what stands before it was taken
};

} // namespace riposte
