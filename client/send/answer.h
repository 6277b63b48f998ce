// What the answer of `riposte send` is: where it ends, if not where the peer ends it, and whether
// it is the one that the script expects. Pure: bytes in, a decision out; memory is bounded.
#pragma once

#include "client/measure/pattern.h"
#include "client/options/options.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace riposte::client {

/// Follows an answer as it arrives in pieces: over TCP what a read returns, over UDP a datagram.
class AnswerWatch {
public:
    explicit AnswerWatch(AnswerRules rules);

    /// The next piece: how many of its bytes belong to the answer. Not called again after the end.
    size_t take(std::string_view piece);
    /// The peer has ended the answer, or a datagram of it: there a REGEX may match as well ($).
    void finish();

    /// The answer is whole by the rules, whatever the peer still sends.
    bool is_over() const { return over_; }
    bool has_taken() const { return taken_; }
    bool is_out_of_memory() const;

    /// What the rules still wait for: "\r\n" in quotes, /REGEX/ or "100 bytes"; empty: nothing, or
    /// it came.
    std::string missing_end() const;
    /// The same of what the answer must contain.
    std::string missing_content() const;
    /// What came: `5 bytes: "hello"`, escaped and cut.
    std::string shown() const;

private:
    bool ends_with_content() const;
    std::optional<size_t> end_of(std::string_view piece);

    AnswerRules rules_;
    std::optional<PatternSearch> until_;
    std::optional<PatternSearch> expect_;
    uint64_t bytes_ = 0;
    std::string head_; ///< the first of them
    bool over_ = false;
    bool met_ = false; ///< `expect`
    bool taken_ = false;
};

} // namespace riposte::client
