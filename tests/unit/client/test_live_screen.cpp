// The live screens as text: which columns there are for which width, what the keys do, and what is
// written of a frame.
#include "client/measure/recent.h"
#include "client/show/live_load.h"
#include "client/show/live_screen.h"
#include "client/show/sparkline.h"
#include "client/show/table.h"
#include "client/show/terminal_screen.h"
#include "tests/support/nanoseconds.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte::client;

namespace {

using riposte::test::ms;
using riposte::test::second;

LiveRow endpoint_row(std::string name, double median_ms, double loss) {
    LiveRow row{
        .name = std::move(name),
        .loss_recent = loss,
        .loss_all = loss / 2,
        .last_ns = static_cast<uint64_t>(median_ms * 1e6),
        .median_ns = median_ms * 1e6,
        .p99_ns = median_ms * 2e6,
        .minute = std::vector<RecentCell>(60),
        .error = {}};
    for (size_t at = 30; at < 60; at++)
        row.minute[at] = {.max_rtt_ns = (at == 45 ? 10 : 1) * ms, .answered = 1, .failed = 0};
    return row;
}

LivePage three_rows() {
    LivePage page{
        .title = "riposte ping: 3 endpoints, every 1s, for 0:01:00", .state = {}, .rows = {}};
    page.rows = {
        endpoint_row("udp://b:7", 1.5, 0), endpoint_row("udp://a:7", 0.25, 100),
        endpoint_row("tcp://c:7", 20, 12.5)};
    for (const size_t at : {size_t{49}, size_t{50}})
        page.rows[1].minute[at] = {.max_rtt_ns = 0, .answered = 0, .failed = 3};
    page.rows[1].error = "14:05:59Z refused by 192.0.2.7";
    return page;
}

std::string text_of(const std::vector<std::string>& lines) {
    std::string text;
    for (std::string line : lines) {
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

/// What a terminal shows that understands only what frames consist of.
class Paper {
public:
    void write(std::string_view bytes) {
        size_t row = 0;
        for (size_t at = 0; at < bytes.size();) {
            if (bytes[at] != '\033') {
                if (lines.size() <= row)
                    lines.resize(row + 1);
                lines[row] += bytes[at++];
                continue;
            }
            const size_t end = bytes.find_first_of("HJKm", at);
            REQUIRE(end != std::string_view::npos);
            const std::string_view parameters = bytes.substr(at + 2, end - at - 2);
            if (bytes[end] == 'J')
                lines.clear();
            if (bytes[end] == 'H') {
                row = parameters.empty() ? 0 : std::stoul(std::string(parameters)) - 1;
                if (lines.size() <= row)
                    lines.resize(row + 1);
                lines[row].clear(); // each line that is written is written whole
            }
            at = end + 1;
        }
    }

    std::vector<std::string> lines;
};

} // namespace

TEST_CASE("on 80 columns there are the figures and the minute, and errors below their rows") {
    CHECK(
        text_of(render_live(three_rows(), {}, {80, 12}, false, false)) ==
        "riposte ping: 3 endpoints, every 1s, for 0:01:00\n"
        "in ms          10s  loss    last  median     p99 last minute\n"
        "udp://b:7       0%    0%    1.50    1.50    3.00                ________#_______\n"
        "udp://a:7     100%   50%   0.250   0.250   0.500                ________#_x_____\n"
        "  14:05:59Z refused by 192.0.2.7\n"
        "tcp://c:7    12.5%  6.2%    20.0    20.0    40.0                ________#_______\n"
        "\n\n\n\n\n"
        "q quit  sort: l loss, m median, p p99, n name\n");
}

TEST_CASE("on 40 columns there are loss, median and p99, and on 200 everything") {
    const auto narrow = render_live(three_rows(), {}, {40, 12}, false, false);
    CHECK(text_of(narrow).find("in ms          10s  loss  median     p99\n") != std::string::npos);
    const auto wide = render_live(three_rows(), {}, {200, 12}, true, false);
    CHECK(wide[1].find("last minute") != std::string::npos);
    CHECK(wide[1].find("last error") != std::string::npos);
    CHECK(wide[3].ends_with("14:05:59Z refused by 192.0.2.7"));
    CHECK(wide[3].find("\u2588") != std::string::npos);
}

TEST_CASE("no line is wider than the screen, and there are never more than it has") {
    LivePage page = three_rows();
    for (size_t at = 0; at < 30; at++)
        page.rows.push_back(endpoint_row(
            "udp://a-name-that-is-rather-long.example:" + std::to_string(7000 + at), 1, 0));
    page.rows[5].error = "14:05:59Z host unreachable (ICMP from 192.0.2.1)";
    for (size_t columns = 1; columns <= 220; columns++)
        for (const size_t lines : {size_t{1}, size_t{2}, size_t{5}, size_t{24}, size_t{80}}) {
            CAPTURE(columns);
            CAPTURE(lines);
            const auto screen = render_live(page, {}, {columns, lines}, true, false);
            CHECK(screen.size() <= lines);
            const size_t widest = columns_of(*std::ranges::max_element(screen, {}, columns_of));
            CHECK(widest <= columns);
            LoadPage load{
                .title = page.title,
                .figures = {"12 answers/s now", "10 connections"},
                .errors = {"3 lost"},
                .samples = {}};
            for (int at = 0; at < 400; at++)
                load.samples.push_back({.rate = at * 10.0, .latency_ns = at * 1e6});
            const auto charts = render_live_load(load, {columns, lines}, true, false);
            CHECK(charts.size() <= lines);
            for (const std::string& line : charts)
                if (columns >= 20)
                    CHECK(columns_of(line) <= columns);
        }
}

TEST_CASE("rows are sorted by what a key says, the worst first") {
    const auto first_names = [](uint32_t key) {
        LiveView view;
        view.press(key, 3, 20);
        std::string names;
        for (const std::string& line : render_live(three_rows(), view, {60, 24}, false, false))
            if (line.find("://") != std::string::npos)
                names += line.substr(6, 1);
        return names;
    };
    CHECK(first_names('x') == "bac");
    CHECK(first_names('l') == "acb");
    CHECK(first_names('m') == "cba");
    CHECK(first_names('p') == "cba");
    CHECK(first_names('n') == "cab");
}

TEST_CASE("arrows and pages scroll between the first and the last row") {
    LiveView view;
    view.press(key_up, 30, 10);
    CHECK(view.first == 0);
    view.press(key_down, 30, 10);
    view.press(key_page_down, 30, 10);
    CHECK(view.first == 11);
    view.press(key_page_down, 30, 10);
    CHECK(view.first == 20);
    view.press(key_page_up, 30, 10);
    CHECK(view.first == 10);
    view.press(key_home, 30, 10);
    CHECK(view.first == 0);
    view.press(key_end, 30, 10);
    CHECK(view.first == 20);
    view.press(key_down, 5, 10); // fewer rows than before
    CHECK(view.first == 0);
    CHECK_FALSE(view.quits);
    view.press('q', 5, 10);
    CHECK(view.quits);
}

TEST_CASE("a screen with too few lines shows which rows there are") {
    LivePage page = three_rows();
    LiveView view{.order = LiveOrder::given, .first = 1, .quits = false};
    const auto screen = render_live(page, view, {70, 6}, false, false);
    REQUIRE(screen.size() == 6);
    CHECK(screen[0].ends_with("; by loss")); // what fails is seen first
    CHECK(screen[2].starts_with("tcp://c"));
    CHECK(screen[3].starts_with("udp://b"));
    CHECK(screen[5].ends_with("2-3 of 3"));
}

TEST_CASE(
    "of a thousand endpoints those that fail are on the screen, and it says how many are not") {
    LivePage page;
    for (int i = 0; i < 1000; i++)
        page.rows.push_back(
            {.name = "udp://host" + std::to_string(i) + ":7",
             .loss_recent = i == 500 ? 100 : 0,
             .loss_all = i == 500 ? 50 : 0,
             .last_ns = {},
             .median_ns = {},
             .p99_ns = {},
             .minute = {},
             .error = i == 500 ? "14:05:59Z no answer" : "",
             .number = static_cast<size_t>(i)});
    std::vector<size_t> completed;
    page.complete = [&](LiveRow& row) {
        completed.push_back(row.number);
        row.median_ns = 1e6 * static_cast<double>(row.number);
    };
    const auto screen = render_live(page, {}, {80, 24}, false, false);
    CHECK(completed.size() == 20); // no more than those that are shown
    CHECK(completed[0] == 500);
    REQUIRE(screen.size() == 24);
    CHECK(screen[2].starts_with("udp://host500:7"));
    CHECK(screen[3].starts_with("udp://host0:7"));
    CHECK(screen[23].ends_with("1-20 of 1000"));
    LiveView by_median;
    by_median.press('m', 1000, 20);
    const auto sorted = render_live(page, by_median, {80, 24}, false, false);
    CHECK(sorted[2].starts_with("udp://host999:7"));
}

TEST_CASE("keys are found in what a terminal sends, also if it is cut") {
    KeyReader reader;
    using Keys = std::vector<uint32_t>;
    CHECK(reader.read("lq") == Keys{'l', 'q'});
    CHECK(
        reader.read("\033[A\033OB\033[5~\033[6~m") ==
        Keys{key_up, key_down, key_page_up, key_page_down, 'm'});
    CHECK(reader.read("\033").empty());
    CHECK(reader.read("[").empty());
    CHECK(reader.read("1~p") == Keys{key_home, 'p'});
    CHECK(reader.read("\033[200~x") == Keys{'x'}); // not one of ours
    CHECK(reader.read("\033[" + std::string(40, '1')).size() < 40);
}

TEST_CASE("a frame that has not changed is nothing, and a changed line is that line") {
    const std::vector<std::string> one{"title", "row 1", "row 2"};
    CHECK(frame_difference(one, one).empty());
    CHECK(
        frame_difference(one, std::vector<std::string>{"title", "row 3", "row 2"}) ==
        "\033[2;1H\033[Krow 3");
    CHECK(
        frame_difference(one, std::vector<std::string>{"title"}) ==
        "\033[2;1H\033[K\033[3;1H\033[K");
    Paper paper;
    std::vector<std::string> before;
    std::mt19937 random(7);
    for (int at = 0; at < 200; at++) {
        std::vector<std::string> after(1 + random() % 6);
        for (std::string& line : after)
            line = std::string(random() % 4, static_cast<char>('a' + random() % 3));
        paper.write(frame_difference(before, after));
        paper.lines.resize(std::max(paper.lines.size(), after.size()));
        for (size_t row = 0; row < paper.lines.size(); row++)
            CHECK(paper.lines[row] == (row < after.size() ? after[row] : ""));
        before = after;
    }
}

TEST_CASE("a sparkline is low and even while round trips are, and high for ten times as much") {
    const std::vector<std::optional<double>> values{1.0, 1.0, std::nullopt, 10.0, 100.0, 3.2};
    CHECK(sparkline(values, false) == "__ ##=");
    CHECK(sparkline(values, true) == "\u2581\u2581 \u2588\u2588\u2585");
    CHECK(bars(values, 100, 2, false) == std::vector<std::string>{"    # ", "__ .#_"});
    CHECK(greatest(values) == 100);
    CHECK(bars({}, 0, 1, true) == std::vector<std::string>{""});
}

TEST_CASE("the loss of the last ten seconds is of what became known in them") {
    RecentMinute recent;
    CHECK_FALSE(recent.loss_percent(100 * second).has_value());
    recent.decide(95 * second, 100 * second, Outcome::lost, 0);
    recent.decide(100 * second, 100 * second, Outcome::answered, ms);
    recent.decide(101 * second, 101 * second, Outcome::local, 0);
    CHECK(recent.loss_percent(101 * second) == 50);
    CHECK(recent.loss_percent(110 * second) == 50);
    CHECK_FALSE(recent.loss_percent(111 * second).has_value());
    recent.decide(111 * second, 111 * second, Outcome::corrupted, 0);
    CHECK(recent.loss_percent(111 * second) == 0); // an answer, if a wrong one
}

TEST_CASE("the minute has each probe at the time at which it was due") {
    RecentMinute recent;
    for (uint64_t at = 0; at < 200; at++)
        recent.decide(
            at * second, (at + 5) * second, at == 190 ? Outcome::lost : Outcome::answered,
            (at + 1) * ms);
    const auto cells = recent.minute(199 * second, 60);
    REQUIRE(cells.size() == 60);
    CHECK(cells[59] == RecentCell{.max_rtt_ns = 200 * ms, .answered = 1, .failed = 0});
    CHECK(cells[50] == RecentCell{.max_rtt_ns = 0, .answered = 0, .failed = 1});
    CHECK(cells[0] == RecentCell{.max_rtt_ns = 141 * ms, .answered = 1, .failed = 0});
    const auto merged = recent.minute(199 * second, 6);
    CHECK(merged[5].answered == 9);
    CHECK(merged[5].failed == 1);
    CHECK(recent.minute(300 * second, 60) == std::vector<RecentCell>(60));
    recent.decide(100 * second, 300 * second, Outcome::answered, ms); // more than a minute late
    CHECK(recent.minute(300 * second, 60) == std::vector<RecentCell>(60));
}

TEST_CASE("load's screen has both charts, with the latest sample at the right") {
    LoadPage page{
        .title = "riposte load: tcp://h:7; 50% done",
        .figures = {"4 answers/s now"},
        .errors = {},
        .samples = {}};
    for (int at = 0; at < 3; at++)
        page.samples.push_back({.rate = 4, .latency_ns = 2e6});
    const auto screen = render_live_load(page, {100, 10}, false, false);
    CHECK(screen[0] == "riposte load: tcp://h:7; 50% done");
    CHECK(screen[2] == "answers/s in the last minute, up to 4");
    CHECK(screen[3] == std::string(99, ' ') + "#");
    CHECK(screen[5] == "p99 in the last minute, up to 2 ms");
    CHECK(screen.back() == "q quit");
}
