// Requests and answers in successive windows of a run, and whether the answers stop at a rate: the
// mark of a responder (or a path) that limits it. Sans-I/O.
//
// Loss at random lets through a share p of what is sent, so that in windows with n requests the
// answers vary as a binomial count does, by n p (1 - p); loss in bursts makes them vary more. A
// rate limit lets through so many in a time, whatever is sent: they vary by much less. That, and
// not a rate that merely looks even, is what is_flat asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

class LoadWindows {
public:
    /// `count` requests left, or were answered, that long after the measured time began.
    void sent(uint64_t after_ns, uint64_t count) { at(after_ns).sent += count; }
    void answered(uint64_t after_ns, uint64_t count) { at(after_ns).answered += count; }

    /// The answers a second at which they stop, although more was sent; nothing if they do not, or
    /// if the run was too short or lost too little to decide. Judged by the second half of the
    /// measured time: a limit may let a burst pass first.
    std::optional<double> plateau(uint64_t elapsed_ns) const;

private:
    static constexpr unsigned shift_min = 26; ///< windows of 2^26 ns, 67 ms, or longer
    static constexpr size_t windows_max = 512;

    struct Window {
        uint64_t sent = 0;
        uint64_t answered = 0;
    };

    Window& at(uint64_t after_ns) {
        const uint64_t index = after_ns >> shift_;
        return index < windows_.size() ? windows_[index] : make_room(after_ns);
    }
    Window& make_room(uint64_t after_ns);
    static void merge_pairs(std::vector<Window>& windows);
    static bool is_flat(const std::vector<Window>& windows);

    unsigned shift_ = shift_min;
    std::vector<Window> windows_;
};

} // namespace riposte::client
