// The keys of the live screens.
#include "client/show/live_screen.h"

#include <algorithm>
#include <array>
#include <utility>

namespace riposte::client {

namespace {

constexpr char escape_byte = '\033';
constexpr size_t sequence_max = 16;

/// What follows ESC, as xterm, its relatives and the Linux console send it.
constexpr std::array<std::pair<std::string_view, uint32_t>, 14> sequences{
    {{"[A", key_up},
     {"[B", key_down},
     {"[5~", key_page_up},
     {"[6~", key_page_down},
     {"[H", key_home},
     {"[F", key_end},
     {"[1~", key_home},
     {"[4~", key_end},
     {"[7~", key_home},
     {"[8~", key_end},
     {"OA", key_up},
     {"OB", key_down},
     {"OH", key_home},
     {"OF", key_end}}};

/// Where a sequence ends that begins with '[' or 'O'; npos: it is not whole yet.
size_t end_of_sequence(std::string_view text) {
    if (text.empty())
        return std::string_view::npos;
    if (text.front() != '[' && text.front() != 'O')
        return 0;
    for (size_t at = 1; at < text.size(); at++)
        if (text[at] >= 0x40 && text[at] <= 0x7e)
            return at + 1;
    return text.size() >= sequence_max ? text.size() : std::string_view::npos;
}

} // namespace

std::vector<uint32_t> KeyReader::read(std::string_view bytes) {
    rest_ += bytes;
    std::vector<uint32_t> keys;
    size_t at = 0;
    while (at < rest_.size()) {
        if (rest_[at] != escape_byte) {
            keys.push_back(static_cast<unsigned char>(rest_[at++]));
            continue;
        }
        const std::string_view behind = std::string_view(rest_).substr(at + 1);
        const size_t size = end_of_sequence(behind);
        if (size == std::string_view::npos)
            break;
        const auto* const known = std::ranges::find(
            sequences, behind.substr(0, size), &std::pair<std::string_view, uint32_t>::first);
        if (known != sequences.end())
            keys.push_back(known->second);
        at += 1 + size;
    }
    rest_.erase(0, at);
    return keys;
}

void LiveView::press(uint32_t key, size_t rows, size_t page) {
    const size_t last_first = rows - std::min(rows, page);
    switch (key) {
    case 'q':
    case 'Q':
        quits = true;
        break;
    case 'l':
        order = LiveOrder::loss;
        break;
    case 'm':
        order = LiveOrder::median;
        break;
    case 'p':
        order = LiveOrder::p99;
        break;
    case 'n':
        order = LiveOrder::name;
        break;
    case key_up:
        first -= std::min<size_t>(first, 1);
        break;
    case key_down:
        first++;
        break;
    case key_page_up:
        first -= std::min(first, page);
        break;
    case key_page_down:
        first += page;
        break;
    case key_home:
        first = 0;
        break;
    case key_end:
        first = last_first;
        break;
    default:
        break;
    }
    first = std::min(first, last_first);
}

} // namespace riposte::client
