// First in, first out, for short items that come and go at a high rate.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace riposte::client {

/// Allocates only to grow: a steady stream of items goes through the memory that there is.
template<class T>
class Queue {
public:
    bool empty() const { return head_ == items_.size(); }
    const T& front() const { return items_[head_]; }
    void push(T item) {
        if (head_ > items_.size() / 2) {
            items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        }
        items_.push_back(std::move(item));
    }
    void pop() { head_++; }

private:
    std::vector<T> items_;
    size_t head_ = 0;
};

} // namespace riposte::client
