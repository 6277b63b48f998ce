// The words of a command line, split by getopt_long(3) into options and operands.
//
// Only two things have a meaning: a dash that begins an option, and "--", after which every word is
// an operand. Operands and values of options are taken as written, whatever they look like. Options
// may follow operands, whatever POSIXLY_CORRECT says, and their names are written in full: an
// abbreviation would change its meaning with the next option that is added.
//
// The caller decides what a word means, how often it may occur, and how an error is reported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace riposte {

struct OptionName {
    char letter = 0;            ///< "-c"; 0: it has none
    const char* name = nullptr; ///< "count" for "--count"; null: it has none
    bool takes_value = false;
};

/// "--count", or "-u" if it has a letter alone.
std::string to_string(const OptionName& option);

struct ArgumentFault {
    enum class Kind : uint8_t { unknown, needs_value, takes_no_value };

    Kind kind;
    std::string word; ///< unknown: "--cuont=3" or "-x"; else how the option was written: "-c"
    size_t option;    ///< its place in the list, unless it is unknown
};

struct SplitArguments {
    struct Given {
        size_t option; ///< its place in the list
        std::string value;
    };

    std::vector<Given> options; ///< in order, each as often as it stands
    std::vector<std::string> operands;
    size_t unmarked = 0;                ///< operands that stand in front of a "--", if there is one
    std::optional<ArgumentFault> fault; ///< the first; what could be read stands above all the same
};

/// `words` begin behind the program's name. Not thread-safe, as getopt_long(3).
SplitArguments split_arguments(
    std::span<const char* const> words, std::span<const OptionName> options);

} // namespace riposte
