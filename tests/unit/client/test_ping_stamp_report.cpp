// What ping prints of a reflector of STAMP.
#include "client/ping/ping_stamp_report.h"
#include "tests/unit/client/stamp_sample.h"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

using namespace riposte;
using namespace riposte::client;

namespace {

constexpr PingStyle colourless{.several = false, .color = false};

PingResult result_of(std::shared_ptr<const StampResult> stamp) {
    PingResult result;
    result.name = "stamp://router:862";
    result.address = "192.0.2.7:862";
    result.counts = {.sent = 401, .answered = stamp->answers, .lost = 401 - stamp->answers};
    result.headers.note({.ttl = 250, .traffic_class = 0, .fragment = {}});
    result.stamp = std::move(stamp);
    return result;
}

bool fits(const std::string& text, size_t columns) {
    size_t longest = 0;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        longest = std::max(longest, end - begin);
        begin = end + 1;
    }
    return longest <= columns;
}

} // namespace

TEST_CASE("the summary has losses, hops and classes of each way, and what was found out") {
    const std::string text = stamp_text(result_of(test::stamp_sample()), colourless);
    CAPTURE(text);
    CHECK(text.contains("there: 6 lost (1.5%), 5 to 6 hops (changed 1 time), dscp af11 (sent ef)"));
    CHECK(text.contains("marked as congested (ECN)"));
    CHECK(text.contains("back: 4 lost (1%), 5 hops\n"));
    CHECK(text.contains("3 lost on either way"));
    CHECK(text.contains("the reflector was restarted before seq=201"));
    CHECK(text.contains("reflector: counts its answers (stateful); returns the SSID 4660"));
    CHECK(text.contains("its clock, as it says: synchronized, error 1 ms\n"));
    CHECK(text.contains("one way, seq=1 to 199: there "));
    CHECK(text.contains("its clock stepped by +3 s between seq=199 and seq=201\n"));
    CHECK(fits(text, 80));
    CHECK(fits(stamp_text(result_of(test::stamp_sample()), {.several = false, .columns = 60}), 60));
}

TEST_CASE("conditions may be of one way, and are met if the reflector does not separate the ways") {
    const auto measured = [](const PingResult& result, std::string_view text) {
        return metric(result, parse_fail_if(text).value().front().metric);
    };
    const PingResult result = result_of(test::stamp_sample());
    CHECK(measured(result, "there.lost>0") == 6.0);
    CHECK(measured(result, "back.lost>0") == 4.0);
    CHECK(measured(result, "there.loss>0%") == doctest::Approx(100 * 6.0 / 401));
    CHECK(measured(result, "back.loss>0%") == doctest::Approx(100 * 4.0 / 401));
    CHECK(measured(result, "there.duplicated>0") == 0.0);
    CHECK(measured(result, "back.reordered>0") == 0.0);
    CHECK(verdict(result, parse_fail_if("there.loss>1.4%").value()) == Exit::failed);
    const auto verdict_on = [](uint64_t lost, std::string_view text) {
        PingResult judged = result_of(test::stamp_sample());
        judged.counts.lost = lost;
        return verdict(judged, parse_fail_if(text).value());
    };
    CHECK(verdict_on(10, "there.lost>6,back.lost>4") == Exit::ok);
    CHECK(verdict_on(10, "there.loss>2%,back.loss>1%") == Exit::ok);
    CHECK(verdict_on(11, "there.lost>6,back.lost>4") == Exit::failed); // one of either way
    CHECK(verdict_on(10, "there.lost>6") == Exit::failed);             // those of the way back
    CHECK(verdict_on(10, "there.duplicated>6,back.reordered>4") == Exit::failed);
    CHECK(verdict_on(11, "lost>11,there.lost>6") == Exit::ok);

    auto copies = std::make_shared<StampResult>(QuestionShape{}, 64);
    copies->books.sent(1);
    copies->books.answered({1, 1, 1});
    copies->answers = 1;
    CHECK(!measured(result_of(copies), "there.lost>0").has_value());
    CHECK(!measured(PingResult(), "back.loss>0%").has_value());
}

TEST_CASE("a reflector that copies numbers has no losses of a way") {
    auto stamp = std::make_shared<StampResult>(QuestionShape{.ssid = 7}, 64);
    stamp->books.sent(1);
    stamp->books.answered({1, 1, 1});
    stamp->answers = stamp->without_ssid = stamp->short_ones = 1;
    stamp->claims = {.answers = 1, .error_min_ns = UINT64_MAX, .error_max_ns = UINT64_MAX};
    const std::string text = stamp_text(result_of(stamp), colourless);
    CAPTURE(text);
    CHECK(text.contains("copies sequence numbers (stateless): losses have no direction;"));
    CHECK(text.contains("TWAMP Light (short answers);"));
    CHECK(text.contains("does not return the SSID"));
    CHECK(text.contains("not synchronized, error unknown\n"));
    CHECK(!text.contains(" lost ("));
}

TEST_CASE("a bound is rounded up, and has two digits") {
    CHECK(bounded_milliseconds(12'100'000, 3'000'000) == "12.1 ms +- 3.0");
    CHECK(bounded_milliseconds(12'149'999, 3'000'000) == "12.1 ms +- 3.1");
    CHECK(bounded_milliseconds(-500'000, 3'000'000) == "-0.5 ms +- 3.0");
    CHECK(bounded_milliseconds(15'400, 17'900) == "0.015 ms +- 0.019");
    CHECK(bounded_milliseconds(1'000'000'000, 123'400'000) == "1000 ms +- 124");
    CHECK(bounded_milliseconds(-1, 1'000'000) == "0.0 ms +- 1.1");
    CHECK(bounded_milliseconds(5, 0) == "0.000005 ms +- 0.000000");
}

TEST_CASE("improper answers are the reason why there is none") {
    StampResult stamp(QuestionShape{}, 64);
    CHECK(why_no_stamp(stamp).empty());
    stamp.no_multiplier = 1;
    CHECK(why_no_stamp(stamp).contains("multiplier"));
    stamp.other_session = 1;
    CHECK(why_no_stamp(stamp).contains("--ssid"));
    stamp.too_short = 1;
    CHECK(why_no_stamp(stamp).contains("too short"));
    stamp.unauthenticated = 1;
    CHECK(why_no_stamp(stamp).contains("HMAC"));
    stamp.echoes = 1;
    CHECK(why_no_stamp(stamp).contains("no STAMP reflector"));
}
