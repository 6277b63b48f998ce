// The result of a session with a reflector of STAMP in which everything happened that reports show:
// a restart, a step of its clock, losses of both ways, and a class that was remarked.
#pragma once

#include "client/stamp/stamp_result.h"

#include <cstdint>
#include <memory>

namespace riposte::test {

inline std::shared_ptr<client::StampResult> stamp_sample() {
    client::QuestionShape shape{.key = nullptr, .ssid = 4660, .dscp = uint8_t{46}};
    shape.bytes = client::base_bytes(shape);
    auto stamp = std::make_shared<client::StampResult>(shape, 1024);
    constexpr uint64_t questions = 400;
    uint32_t number = 0;
    for (uint64_t question = 1; question <= questions; question++) {
        stamp->books.sent(question);
        if (question == 201)
            number = 0; // restarted
        if (question % 50 == 0)
            continue; // lost there
        const uint32_t its_number = number++;
        if (question % 70 == 0)
            continue; // lost back
        stamp->books.answered({question, its_number, question * 1000});
        const uint64_t local_ns = question * 10'000'000;
        const int64_t lead_ns = question <= 200 ? 2'000'000'000 : 5'000'000'000;
        const auto varied = static_cast<int64_t>(question % 7) * 100'000;
        stamp->clocks.take(
            {.sequence = question,
             .sample = {
                 .local_ns = local_ns,
                 .elapsed_ns = 18'000'000 + static_cast<uint64_t>(varied),
                 .there_ns = lead_ns + 12'000'000 + varied,
                 .back_ns = 6'000'000 - lead_ns}});
        stamp->residence.record(40'000 + question);
        stamp->there.note(
            {.ttl = static_cast<uint8_t>(question < 300 ? 250 : 249),
             .traffic_class = uint8_t{10 << 2 | 3},
             .fragment = {}});
        stamp->answers++;
    }
    stamp->books.sent(questions + 1); // undecided
    stamp->claims = {
        .answers = stamp->answers,
        .synchronized = stamp->answers,
        .error_min_ns = 1'000'000,
        .error_max_ns = 1'000'000};
    stamp->class_refused = 3;
    return stamp;
}

} // namespace riposte::test
