// Memory for a vector that may have to grow. A plan (a reload) reserves it before anything changes;
// if all parts could reserve, the plan is applied and the vector takes the memory over, which
// cannot fail; otherwise the memory is given up and the vector is as it was.
#pragma once

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace riposte {

template<class T>
class VectorReservation {
public:
    /// Reserves memory for `vector` to have `size` elements. Throws std::bad_alloc, and then
    /// nothing has changed.
    void reserve(const std::vector<T>& vector, size_t size) {
        std::vector<T> memory;
        if (size > vector.capacity())
            memory.reserve(size);
        memory_ = std::move(memory);
    }

    /// Gives `vector` the reserved capacity; its elements stay. Does nothing if it has as much.
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

    /// Frees what was reserved.
    void give_up() noexcept { std::vector<T>().swap(memory_); }

private:
    std::vector<T> memory_;
};

} // namespace riposte
