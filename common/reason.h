// Why something is not as wanted: one word that never changes, for programs, and words for people.
#pragma once

#include <string>

namespace riposte {

struct Reason {
    std::string token{}; ///< "EPERM", "not_tcp"; in the journal RIPOSTE_REASON
    std::string text{};  ///< part of a line; "": there is nothing to explain

    bool empty() const noexcept { return text.empty(); }
    bool operator==(const Reason&) const = default;
};

} // namespace riposte
