#include "faults.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

namespace riposte::link {
namespace {

constexpr std::array<std::string_view, fault_count> names{"loss", "duplicate", "hold",
                                                          "slow", "corrupt",   "resize"};

// Random choices other than the faults themselves.
constexpr uint64_t kind_jitter = 16;
constexpr uint64_t kind_jitter_angle = 17;
constexpr uint64_t kind_bit = 18;

template<typename Number>
bool read(std::string_view text, Number& target, Number max) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), target);
    return problem == std::errc{} && end == text.data() + text.size() && target >= 0 &&
           target <= max;
}

bool read(std::string_view text, uint64_t& target) {
    return read<uint64_t>(text, target, std::numeric_limits<uint32_t>::max() * uint64_t{1'000});
}

/// A time: an hour at most.
bool read(std::string_view text, int64_t& target) {
    return read<int64_t>(text, target, 3'600'000'000'000);
}

bool read(std::string_view text, bool& target) {
    target = text == "1";
    return target || text == "0";
}

bool read_list(std::string_view text, std::vector<uint64_t>& target) {
    target.clear();
    while (!text.empty()) {
        const size_t end = std::min(text.find(':'), text.size());
        uint64_t number = 0;
        if (!read(text.substr(0, end), number))
            return false;
        target.push_back(number);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    std::ranges::sort(target);
    return true;
}

bool read_jitter(std::string_view text, Jitter& target) {
    if (text == "normal")
        target = Jitter::normal;
    else if (text == "exponential")
        target = Jitter::exponential;
    else
        target = Jitter::uniform;
    return text == "uniform" || target != Jitter::uniform;
}

/// Reads loss, loss.every, loss.list and those of the other faults; nothing if `key` is none of
/// them.
std::optional<bool> read_choice(Faults& faults, std::string_view key, std::string_view value) {
    for (size_t i = 0; i < fault_count; ++i) {
        if (!key.starts_with(names[i]))
            continue;
        const std::string_view rest = key.substr(names[i].size());
        if (rest.empty())
            return read<double>(value, faults.choices[i].share, 1.0);
        if (rest == ".every")
            return read(value, faults.choices[i].every);
        if (rest == ".list")
            return read_list(value, faults.choices[i].list);
    }
    return std::nullopt;
}

bool read_measure(Faults& faults, std::string_view key, std::string_view value) {
    if (key == "delay")
        return read(value, faults.delay_ns);
    if (key == "jitter")
        return read(value, faults.jitter_ns);
    if (key == "jitter.kind")
        return read_jitter(value, faults.jitter);
    if (key == "order")
        return read(value, faults.keep_order);
    if (key == "rate")
        return read(value, faults.rate_bits);
    if (key == "queue")
        return read(value, faults.queue);
    if (key == "mtu")
        return read(value, faults.mtu) && (faults.mtu == 0 || faults.mtu >= 68);
    return false;
}

bool read_one(Faults& faults, std::string_view key, std::string_view value) {
    if (const std::optional<bool> done = read_choice(faults, key, value))
        return *done;
    if (key == "subjects") {
        faults.payload_only = value == "payload";
        return faults.payload_only || value == "all";
    }
    if (key == "duplicate.copies")
        return read<uint64_t>(value, faults.copies, 100);
    if (key == "hold.for")
        return read(value, faults.hold_for);
    if (key == "hold.max")
        return read(value, faults.hold_max_ns);
    if (key == "slow.extra")
        return read(value, faults.slow_extra_ns);
    if (key == "corrupt.mend")
        return read(value, faults.corrupt_mend);
    if (key == "corrupt.at")
        return read<uint64_t>(value, faults.corrupt_at.emplace(), 65'535);
    if (key == "resize.to")
        return read<uint64_t>(value, faults.resize_to, 9'000);
    return read_measure(faults, key, value);
}

/// splitmix64's last step.
uint64_t mixed(uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

} // namespace

std::optional<Faults> read_faults(std::string_view text, std::string& error) {
    Faults faults;
    while (!text.empty()) {
        const size_t end = std::min(text.find(','), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const size_t equals = word.find('=');
        if (equals == std::string_view::npos ||
            !read_one(faults, word.substr(0, equals), word.substr(equals + 1))) {
            error = "not a fault: '" + std::string(word) + "'";
            return std::nullopt;
        }
    }
    return faults;
}

double Dice::roll(uint64_t kind, uint64_t number) const {
    const uint64_t bits = mixed(mixed(mixed(seed_) ^ (kind << 8 | direction_)) ^ number);
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

bool Dice::chosen(const Faults& faults, Fault fault, uint64_t number) const {
    const Choice& choice = faults.choice(fault);
    return (choice.every > 0 && number % choice.every == 0) ||
           std::ranges::binary_search(choice.list, number) ||
           (choice.share > 0 && roll(static_cast<uint64_t>(fault), number) < choice.share);
}

int64_t Dice::jitter_ns(const Faults& faults, uint64_t number) const {
    if (faults.jitter_ns == 0)
        return 0;
    const double share = roll(kind_jitter, number);
    double factor = 2 * share - 1;
    if (faults.jitter == Jitter::exponential)
        factor = std::min(-std::log(1 - share), 10.0);
    else if (faults.jitter == Jitter::normal) // Box and Muller
        factor = std::clamp(
            std::sqrt(-2 * std::log(1 - share)) *
                std::cos(2 * std::numbers::pi * roll(kind_jitter_angle, number)),
            -4.0, 4.0);
    return static_cast<int64_t>(factor * static_cast<double>(faults.jitter_ns));
}

uint64_t Dice::bit(uint64_t bits, uint64_t number) const {
    return static_cast<uint64_t>(roll(kind_bit, number) * static_cast<double>(bits));
}

} // namespace riposte::link
