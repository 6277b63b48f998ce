// A stable sort that leaves equal values in their order. The standard library's own calls, in
// libstdc++ 12, a function that Clang reports as deprecated.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

namespace riposte::client {

/// Sorts by `key` (a projection), by `less` of two keys.
template<class Value, class Key, class Less = std::ranges::less>
void sort_stably(std::vector<Value>& values, Key key, Less less = {}) {
    std::vector<size_t> order(values.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, [&](size_t a, size_t b) {
        const auto& key_a = std::invoke(key, values[a]);
        const auto& key_b = std::invoke(key, values[b]);
        return less(key_a, key_b) || (!less(key_b, key_a) && a < b);
    });
    std::vector<Value> sorted;
    sorted.reserve(values.size());
    for (const size_t place : order)
        sorted.push_back(std::move(values[place]));
    values = std::move(sorted);
}

} // namespace riposte::client
