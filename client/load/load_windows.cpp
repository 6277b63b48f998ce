#include "client/load/load_windows.h"

#include <algorithm>

namespace riposte::client {

namespace {

constexpr size_t windows_enough = 16;
constexpr double lost_share_min = 0.125;
/// Of the variance that loss at random would have. Of 16 windows of such loss the estimate falls
/// below that once in more than ten thousand runs (chi-squared, 15 degrees of freedom).
constexpr double flat_variance = 0.15;
constexpr double variance_min = 5; ///< of loss at random: less decides nothing

} // namespace

LoadWindows::Window& LoadWindows::make_room(uint64_t after_ns) {
    while ((after_ns >> shift_) >= windows_max) {
        merge_pairs(windows_);
        shift_++;
    }
    const uint64_t index = after_ns >> shift_;
    if (index >= windows_.size())
        windows_.resize(index + 1);
    return windows_[index];
}

/// An odd one at the end stays as it is.
void LoadWindows::merge_pairs(std::vector<Window>& windows) {
    const size_t size = (windows.size() + 1) / 2;
    for (size_t i = 0; i < size; i++) {
        Window merged = windows[2 * i];
        if (2 * i + 1 < windows.size()) {
            merged.sent += windows[2 * i + 1].sent;
            merged.answered += windows[2 * i + 1].answered;
        }
        windows[i] = merged;
    }
    windows.resize(size);
}

bool LoadWindows::is_flat(const std::vector<Window>& windows) {
    double sent = 0;
    double answered = 0;
    for (const Window& window : windows) {
        sent += static_cast<double>(window.sent);
        answered += static_cast<double>(window.answered);
    }
    if (sent <= 0 || answered > (1 - lost_share_min) * sent)
        return false;
    const auto count = static_cast<double>(windows.size());
    const double mean = answered / count;
    const double at_random = mean * (1 - answered / sent);
    double squares = 0;
    for (const Window& window : windows) {
        const double distance = static_cast<double>(window.answered) - mean;
        squares += distance * distance;
    }
    return at_random >= variance_min && squares / (count - 1) < flat_variance * at_random;
}

std::optional<double> LoadWindows::plateau(uint64_t elapsed_ns) const {
    const size_t whole = std::min<size_t>(windows_.size(), elapsed_ns >> shift_);
    std::vector<Window> judged(
        windows_.begin() + static_cast<ptrdiff_t>(whole / 2),
        windows_.begin() + static_cast<ptrdiff_t>(whole));
    uint64_t answered = 0;
    for (const Window& window : judged)
        answered += window.answered;
    const double seconds =
        static_cast<double>(judged.size()) * static_cast<double>(uint64_t{1} << shift_) / 1e9;
    // Short windows decide soon; long ones tolerate that this machine or the responder is late.
    while (judged.size() >= windows_enough) {
        if (is_flat(judged))
            return static_cast<double>(answered) / seconds;
        if (judged.size() % 2 != 0)
            judged.pop_back();
        merge_pairs(judged);
    }
    return std::nullopt;
}

} // namespace riposte::client
