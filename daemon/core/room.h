// Memory for a vector that may have to grow: had before it is certain that it will, and given up as
// if it had never been. The one who says yes to a plan takes it over, and then nothing can fail any
// more.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace riposte {

template<class T>
class Room {
public:
    /// For `vector` to have `size` elements. Throws std::bad_alloc, and then nothing has changed.
    void reserve(const std::vector<T>& vector, size_t size) {
        std::vector<T> memory;
        if (size > vector.capacity())
            memory.reserve(size);
        memory_ = std::move(memory);
    }

    void take_over(std::vector<T>& vector) noexcept {
        if (memory_.capacity() > vector.capacity()) {
            memory_.clear();
            memory_.insert(
                memory_.end(), std::make_move_iterator(vector.begin()),
                std::make_move_iterator(vector.end()));
            vector.swap(memory_);
        }
        give_up();
    }

    void give_up() noexcept { std::vector<T>().swap(memory_); }

private:
    std::vector<T> memory_;
};

} // namespace riposte
