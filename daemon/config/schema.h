// Every key of riposted.toml(5), one row each: its name, the member that holds it, its unit, its
// bounds, and whether a reload can change it. Reader, printer, comparison and the warnings of a
// reload are loops over the rows; a test holds the manual page against them.
//
// A new key is a member of its room's option struct, a row here, and a paragraph of the page.
#pragma once

#include "daemon/config/config.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace riposte::schema {

enum class Section : uint8_t { top, listen, limits, datagrams, access_log, metrics, end };

struct SectionRow {
    Section section;
    std::string_view name;    ///< "" for the keys before the first section
    std::string_view written; ///< "[limits]", "[[listen]]"
    bool repeats = false;     ///< may stand any number of times
};
/// In the order of Section, which is that of printing.
std::span<const SectionRow> sections();
const SectionRow& row_of(Section section);

/// How the number of a value is written and what it means.
enum class Unit : uint8_t {
    none,         ///< not a number: a word, a text, a list
    count,        ///< 17
    bits,         ///< 24, of a prefix
    per_second,   ///< 5000
    bytes,        ///< "64KiB", or a number of bytes
    milliseconds, ///< "10s", or a number of seconds
    microseconds, ///< "50us", or a number of seconds
};

/// A number as it is written in the file, without quotes: "17", "64KiB", "10s".
std::string written(Unit unit, uint64_t number);
/// Is it written in quotes?
bool is_quoted(Unit unit);

enum class Effect : uint8_t {
    reload,  ///< a reload changes it
    restart, ///< the running value stays until a restart, and a reload says so
};

/// A value in place; its type says how it is read, printed and compared.
using Member = std::variant<
    bool*, uint32_t*, uint64_t*, std::string*, BackendChoice*, LogLevel*, WhenFull*, ServiceKind*,
    std::vector<Cidr>*, std::vector<Endpoint>*, std::vector<ScrapeAddress>*>;

struct Key {
    Section section;
    std::string_view name;
    /// `listen` is the [[listen]] section that is meant; other keys do not look at it.
    Member (*member)(Config& config, ListenerConfig& listen);
    Unit unit = Unit::none;
    /// In the unit; of a text its bytes, of a list its elements. Without bounds both are 0.
    uint64_t min = 0;
    uint64_t max = 0;
    Effect effect = Effect::reload;
    bool required = false;                   ///< of each [[listen]]
    std::optional<ServiceKind> only_of = {}; ///< no other service has it
};

/// By section, in the order of printing.
std::span<const Key> keys();
/// Null if the section has no such key.
const Key* find_key(Section section, std::string_view name);
/// Of a number: "from 1 to 1000000", "at least 1ms", "at most 10ms".
std::string bounds(const Key& key);
/// 'idle_timeout', and '[metrics] listen' where the name alone has several meanings.
std::string quoted(const Key& key);

/// Is the value the same in both? Not of [[listen]], whose sections have no counterpart.
bool same(const Key& key, const Config& a, const Config& b);

/// Sets what only a restart can change back to what runs; returns the keys that differed.
std::vector<const Key*> keep_until_restart(const Config& running, Config& wanted);

} // namespace riposte::schema
