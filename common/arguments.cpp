#include "common/arguments.h"

#include <algorithm>

#include <getopt.h>

namespace riposte {

namespace {

/// Of a long option, beyond every letter: this and its place in the list.
constexpr int long_codes = 256;
/// What getopt_long(3) returns for an operand, if the letters begin with a dash.
constexpr int operand_code = 1;

/// "name" of "--name=value".
std::string_view long_name(std::string_view word) {
    return word.substr(2, word.find('=') - 2);
}

class Splitter {
public:
    Splitter(std::span<const char* const> words, std::span<const OptionName> options)
        : options_(options) {
        // getopt_long(3) writes to none of them, and moves none with these letters.
        argv_.push_back(const_cast<char*>(""));
        for (const char* word : words)
            argv_.push_back(const_cast<char*>(word));
        argv_.push_back(nullptr);
        for (size_t i = 0; i < options.size(); i++) {
            const OptionName& each = options[i];
            if (each.letter != 0)
                letters_.append(1, each.letter).append(each.takes_value ? ":" : "");
            if (each.name != nullptr)
                names_.push_back(
                    {.name = each.name,
                     .has_arg = each.takes_value ? required_argument : no_argument,
                     .flag = nullptr,
                     .val = long_codes + static_cast<int>(i)});
        }
        names_.push_back({});
    }

    SplitArguments run() {
        const int count = static_cast<int>(argv_.size()) - 1;
        optind = 0; // begins anew
        opterr = 0;
        for (;;) {
            const auto at = static_cast<size_t>(std::max(optind, 1));
            const std::string_view word = at + 1 < argv_.size() ? argv_[at] : "";
            const int code = // NOLINTNEXTLINE(concurrency-mt-unsafe): so says our header
                ::getopt_long(count, argv_.data(), letters_.c_str(), names_.data(), nullptr);
            if (code == -1)
                break;
            take(code, word);
        }
        result_.unmarked = result_.operands.size();
        for (int i = optind; i < count; i++)
            result_.operands.emplace_back(argv_[static_cast<size_t>(i)]);
        return std::move(result_);
    }

private:
    using Kind = ArgumentFault::Kind;

    void take(int code, std::string_view word) {
        if (code == operand_code) {
            result_.operands.emplace_back(optarg);
            return;
        }
        const bool is_long = word.starts_with("--");
        const bool is_fault = code == '?' || code == ':';
        const auto letter = static_cast<char>(is_fault ? optopt : code);
        const std::optional<size_t> place = is_long ? find(long_name(word)) : find(letter);
        if (!place) {
            refuse(Kind::unknown, is_long ? std::string(word) : std::string{'-', letter}, 0);
            return;
        }
        const std::string written =
            is_long ? to_string(options_[*place]) : std::string{'-', letter};
        const bool has_value = is_long && word.find('=') != std::string_view::npos;
        if (code == '?')
            refuse(Kind::takes_no_value, written, *place);
        else if (code == ':' || (has_value && *optarg == '\0'))
            refuse(Kind::needs_value, written, *place);
        else
            result_.options.push_back(
                {.option = *place, .value = options_[*place].takes_value ? optarg : ""});
    }

    /// By the whole name.
    std::optional<size_t> find(std::string_view name) const {
        const auto found = std::ranges::find_if(options_, [&](const OptionName& each) {
            return each.name != nullptr && name == each.name;
        });
        return found == options_.end()
                   ? std::nullopt
                   : std::optional(static_cast<size_t>(found - options_.begin()));
    }
    std::optional<size_t> find(char letter) const {
        const auto found = std::ranges::find(options_, letter, &OptionName::letter);
        return found == options_.end() || letter == 0
                   ? std::nullopt
                   : std::optional(static_cast<size_t>(found - options_.begin()));
    }
    void refuse(Kind kind, std::string word, size_t option) {
        if (!result_.fault)
            result_.fault = {.kind = kind, .word = std::move(word), .option = option};
    }

    std::span<const OptionName> options_;
    std::vector<char*> argv_;
    std::string letters_ = "-:"; ///< operands in their order; a missing value has a code of its own
    std::vector<::option> names_;
    SplitArguments result_;
};

} // namespace

std::string to_string(const OptionName& option) {
    return option.name != nullptr ? std::string("--") + option.name
                                  : std::string{'-', option.letter};
}

SplitArguments split_arguments(
    std::span<const char* const> words, std::span<const OptionName> options) {
    return Splitter(words, options).run();
}

} // namespace riposte
