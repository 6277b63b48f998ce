// The page of a prober for people, and what it compares.
#include "client/probe/fleet_page.h"
#include "client/probe/recent_results.h"
#include "tests/unit/client/fleet_sample.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;
using namespace riposte::client;
using namespace riposte::client::test;

namespace {

constexpr uint64_t second_ns = 1'000'000'000;

std::string page_of(const FleetFigures& now, const FleetFigures* before = nullptr) {
    return fleet_page(now, before, "1.2.3").text();
}

/// The rows of the tables, without their marks.
std::vector<std::string> rows_of(const std::string& page) {
    std::vector<std::string> rows;
    for (size_t at = page.find("<tr><td>"); at != std::string::npos;
         at = page.find("<tr><td>", at + 1)) {
        std::string row;
        bool mark = false;
        for (const char c : page.substr(at, page.find("</tr>", at) - at)) {
            if (c == '<' && row.size() > 0 && row.back() != '|')
                row += '|';
            mark = c == '<' || (mark && c != '>');
            if (!mark && c != '>')
                row += c;
        }
        rows.push_back(row);
    }
    return rows;
}

std::shared_ptr<const FleetFigures> picture_at(uint64_t seconds) {
    auto figures = std::make_shared<FleetFigures>();
    figures->at_ns = seconds * second_ns;
    return figures;
}

} // namespace

TEST_CASE("the page has the worst targets first, with what became of their probes") {
    const std::vector<std::string> rows = rows_of(page_of(small_fleet()));
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].starts_with("site fra|udp|12.5%|7|"));
    CHECK(rows[1].starts_with(R"(a\&quot;b)"));
    CHECK(rows[1].ends_with("|tcp|100%|0|-|-|refused 4|"));
    CHECK(rows[2].starts_with("db1:7007|rack r1, site fra|udp|12.5%|7|"));
    CHECK(rows[2].ends_with("|over 16 s|lost 1, not sent by this host 1|"));
}

TEST_CASE("the page shows what has happened since the earlier picture") {
    const FleetFigures before = small_fleet();
    FleetFigures now = small_fleet();
    now.at += 60;
    now.targets[0].counts.sent += 100;
    now.targets[0].counts.answered += 100;
    now.targets[0].rtt = recorded(
        {500, 100'000, 200'000, 200'000, 1'000'000, 20'000'000, 17'000'000'000, 3'000'000,
         3'000'000});
    const std::vector<std::string> rows = rows_of(page_of(now, &before));
    REQUIRE(rows.size() == 3);
    CHECK(rows[1].starts_with("db1:7007|rack r1, site fra|udp|0%|100|3.01 ms|3.01 ms|"));
    CHECK(rows[2].ends_with("|tcp|-|0|-|-|")); // nothing of it, so it is last
    CHECK(page_of(now, &before).find("sent late - (p99), 0 probes skipped") != std::string::npos);
}

TEST_CASE("a prober that is itself the cause says so, and a list that was not taken is named") {
    const std::string page = page_of(small_fleet());
    CHECK(page.find("do not believe the losses below") != std::string::npos);
    CHECK(page.find("3 probes skipped, 2 answers dropped") != std::string::npos);
    CHECK(
        page.find("/etc/riposte/targets.d/*.json: half a file; the list before is in use") !=
        std::string::npos);
    FleetFigures well;
    well.discovery.push_back({.source = "a", .last_error = ""});
    CHECK(page_of(well).find("do not believe") == std::string::npos);
    CHECK(page_of(well).find("There are no targets") != std::string::npos);
}

TEST_CASE("no name can put marks into the page") {
    FleetFigures fleet;
    fleet.targets.push_back(
        target_named("<script>alert(1)</script>", ProbeTransport::udp, {{"rack", "\"><b>&\x01"}}));
    fleet.discovery.push_back({.source = "<i>", .last_error = "<u>"});
    const std::string page = page_of(fleet);
    for (const std::string_view mark : {"<script", "<b>", "<i>", "<u>", "\x01"})
        CHECK(page.find(mark) == std::string::npos);
    CHECK(page.find("&lt;script&gt;alert(1)&lt;/script&gt;") != std::string::npos);
}

TEST_CASE("the page needs nothing from elsewhere, follows light and dark, and is bounded") {
    FleetFigures fleet;
    for (size_t i = 0; i < page_rows_max + 5; ++i)
        fleet.targets.push_back(target_named(fmt::format("host{}:7", i), ProbeTransport::udp, {}));
    fleet.targets.back().counts = {.sent = 1, .lost = 1};
    const std::string page = page_of(fleet);
    CHECK(rows_of(page).size() == page_rows_max);
    CHECK(rows_of(page)[0].starts_with(fmt::format("host{}:7|", page_rows_max + 4)));
    CHECK(page.find("5 better targets not shown") != std::string::npos);
    for (const std::string_view part : {"http:", "https:", "src=", "<link", "url(", "@import"})
        CHECK(page.find(part) == std::string::npos);
    for (const std::string_view part :
         {"prefers-color-scheme: dark", "width=device-width", "default-src 'none'"})
        CHECK(page.find(part) != std::string::npos);
}

TEST_CASE("an earlier picture is from one window to two old, while pictures come") {
    EarlierPicture earlier;
    CHECK(earlier.before(picture_at(100)) == nullptr);
    CHECK(earlier.before(picture_at(159)) == nullptr);
    for (uint64_t now = 160; now < 1000; ++now) {
        const auto before = earlier.before(picture_at(now));
        REQUIRE(before != nullptr);
        const uint64_t age_ns = now * second_ns - before->at_ns;
        CHECK(age_ns >= EarlierPicture::window_ns);
        CHECK(age_ns < 2 * EarlierPicture::window_ns);
    }
    CHECK(earlier.before(picture_at(5000))->at_ns < 1000 * second_ns); // none came meanwhile
}

TEST_CASE("a quantile since a moment is that of the values since then") {
    const HistogramFigures before = recorded({1'000'000, 1'000'000, 1'000'000});
    const HistogramFigures now =
        recorded({1'000'000, 1'000'000, 1'000'000, 5'000'000, 20'000'000'000});
    CHECK(
        quantile_since(now, &before, 0.5) ==
        CompactHistogram::upper_bound(CompactHistogram::bucket_of(5'000'000)));
    CHECK(
        quantile_since(now, &before, 1) ==
        CompactHistogram::upper_bound(CompactHistogram::above_all));
    CHECK(quantile_since(now, &now, 0.5) == std::nullopt);
    CHECK(quantile_since(now, nullptr, 0.5) == now.quantile(0.5));
}
