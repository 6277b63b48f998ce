#include "common/http/query.h"

#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace riposte;

using Parameters = std::vector<HttpQuery::Parameter>;

namespace {

Parameters parameters_of(std::string_view query) {
    auto parsed = HttpQuery::parse(query);
    REQUIRE_MESSAGE(parsed.has_value(), (parsed ? "" : parsed.error()));
    return parsed->parameters();
}

std::string error_of(std::string_view query) {
    const auto parsed = HttpQuery::parse(query);
    return parsed ? "" : parsed.error();
}

} // namespace

TEST_CASE("a query has the parameters that its client wrote") {
    CHECK(parameters_of("") == Parameters{});
    CHECK(
        parameters_of("target=db1:7007&module=udp") ==
        Parameters{{"target", "db1:7007"}, {"module", "udp"}});
    CHECK(parameters_of("target=%5B%3a%3A1%5d%3A7007") == Parameters{{"target", "[::1]:7007"}});
    CHECK(parameters_of("a+b=c+d%2B") == Parameters{{"a b", "c d+"}});
    CHECK(parameters_of("a=b=c") == Parameters{{"a", "b=c"}});
    CHECK(parameters_of("&a=1&&b=2&") == Parameters{{"a", "1"}, {"b", "2"}});
    CHECK(
        parameters_of("a=%26%3D%25") == Parameters{{"a", "&=%"}}); // decoded once, after the split
    CHECK(parameters_of("a=%c3%bc") == Parameters{{"a", "\xc3\xbc"}});
}

TEST_CASE("an empty parameter is there, an absent one is not") {
    const auto query = HttpQuery::parse("target&module=");
    REQUIRE(query.has_value());
    CHECK(query->value("target") == "");
    CHECK(query->value("module") == "");
    CHECK(query->value("Target") == std::nullopt);
    CHECK(query->value("") == std::nullopt);
}

TEST_CASE("a query that can be read in two ways is refused, with the reason") {
    CHECK(error_of("a=1&b=2&a=3") == "the parameter 'a' occurs twice; write it once");
    CHECK(error_of("a=1&%61=3") == "the parameter 'a' occurs twice; write it once");
    CHECK(error_of("=1") == "a parameter without a name; write name=value");
    for (const std::string_view text :
         {"a=%", "a=%4", "a=%4g", "a=%g4", "%=a", "a=%%41", "a=1&b=%2"}) {
        CAPTURE(text);
        CHECK(error_of(text).starts_with("bad escape '%"));
        CHECK(error_of(text).ends_with("'; write % and two hexadecimal digits"));
    }
    for (const std::string_view text : {"a=%00", "a=%0a", "%7F=b", "a=b%1f"}) {
        CAPTURE(text);
        CHECK(error_of(text) == "a control byte in the query; leave it out");
    }
}

TEST_CASE("a query has a bounded number of parameters") {
    std::string query;
    for (size_t i = 0; i < HttpQuery::parameters_max; ++i)
        query += "p" + std::to_string(i) + "=1&";
    CHECK(parameters_of(query).size() == HttpQuery::parameters_max);
    CHECK(error_of(query + "more") == "more than 32 parameters; write fewer");
}
