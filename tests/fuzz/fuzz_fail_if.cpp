// --fail-if: conditions as a user writes them. An accepted condition means the same when it is read
// again, alone or with the others, and is judged by its text; for any measurement, its message can
// be printed on one line.
#include "client/measure/fail_if.h"
#include "tests/fuzz/fuzz.h"

#include <array>
#include <bit>
#include <cmath>

using namespace riposte;
using namespace riposte::client;
using fuzz::require;

namespace {

void require_refusal(const FailIfError& error, std::string_view text) {
    require(error.offset <= text.size(), "the fault is in the text", text);
    fuzz::require_one_line(error.message);
}

bool is_met(const Condition& condition, double value) {
    switch (condition.comparison) {
    case Comparison::above:
        return value > condition.value;
    case Comparison::at_least:
        return !(value < condition.value);
    case Comparison::below:
        return value < condition.value;
    case Comparison::at_most:
        return !(value > condition.value);
    }
    return false;
}

void require_sound(const Condition& condition) {
    const bool in_range = condition.metric.percentile >= 0 && condition.metric.percentile <= 100;
    require(in_range, "a percentile from 0 to 100", condition.text);
    require(std::isfinite(condition.value) && condition.value >= 0, "a value", condition.text);
    const auto alone = parse_fail_if(condition.text);
    require(
        alone.has_value() && alone->size() == 1 && alone->front() == condition,
        "a condition stands for itself", condition.text);
}

void judge(const FailIf& conditions, const std::optional<double>& value) {
    const auto checks = check(conditions, [&](const Metric&) { return value; });
    require(checks.size() == conditions.size(), "each is judged");
    for (size_t i = 0; i < checks.size(); i++) {
        require(checks[i].condition == &conditions[i], "in its order");
        const bool met = !value || is_met(conditions[i], *value);
        require(checks[i].met == met, "as it says", conditions[i].text);
        // A double has up to 309 digits in front of the point.
        std::string line = describe(checks[i]);
        std::ranges::replace(line, '\t', ' '); // a blank of the condition, as written
        fuzz::require_one_line(line, 400 + conditions[i].text.size() + conditions[i].name.size());
        require(line.starts_with(conditions[i].name), "names the metric", line);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { // NOLINT(*-naming)
    fuzz::Input input(data, size);
    const double measured = std::abs(std::bit_cast<double>(input.number()));
    const std::string text = input.rest();
    const auto conditions = parse_fail_if(text);
    if (!conditions) {
        require_refusal(conditions.error(), text);
        return 0;
    }
    require(!conditions->empty(), "no condition is an error");
    std::string together;
    for (const Condition& condition : *conditions) {
        require_sound(condition);
        together += together.empty() ? "" : " ,\t";
        together += condition.text;
    }
    require(parse_fail_if(together) == *conditions, "together they are the same", together);

    judge(*conditions, std::nullopt);
    if (std::isfinite(measured))
        judge(*conditions, measured);
    for (const double near : {0.0, 0.5, 1.0, 1.0000001, 2.0})
        if (const double value = conditions->front().value * near; std::isfinite(value))
            judge(*conditions, value);
    return 0;
}
