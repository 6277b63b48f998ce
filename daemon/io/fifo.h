// A queue in one piece of memory. Its size depends on the most items that were in it at once, not
// on how long it was in use without becoming empty.
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

    /// Appends `count` items, which the caller writes before it calls anything else.
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

    /// Moves as many items as fit to `out`, oldest first, and returns their number.
    size_t deliver(std::span<T> out) noexcept {
        const size_t count = std::min(out.size(), size());
        std::copy_n(items_.begin() + static_cast<std::ptrdiff_t>(begin_), count, out.begin());
        drop(count);
        return count;
    }

private:
    /// The remaining items move to the front when they are fewer than the removed ones: on average,
    /// no item moves more than once.
    void drop(size_t count) noexcept {
        begin_ += count;
        if (begin_ <= items_.size() / 2)
            return;
        items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(begin_));
        begin_ = 0;
    }

    std::vector<T> items_;
    size_t begin_ = 0; ///< index of the oldest item; those before it were removed
};

} // namespace riposte
