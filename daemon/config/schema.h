// Every key of riposted.toml(5), one row each: its name, the member that holds it, its unit, its
// bounds, and whether a reload can change it. The reader, the printer, the comparison and a
// reload's warnings are loops over the rows; a test compares the manual page with them.
//
// A new key needs a member in the option struct of its folder, a row here, and a paragraph in the
// page.
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
/// In the order of Section, which is also the printed order.
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
/// True if the number is written in quotes.
bool is_quoted(Unit unit);

enum class Effect : uint8_t {
    reload,  ///< a reload changes it
    restart, ///< the running value stays until a restart; a reload logs that
};

/// A value in place; its type says how it is read, printed and compared.
using Member = std::variant<
    bool*, uint32_t*, uint64_t*, std::string*, BackendChoice*, LogLevel*, WhenFull*, ServiceKind*,
    StampSequence*, StampLocation*, StampClock*, StampAuthentication*, std::vector<StampKeyFile>*,
    std::optional<uint8_t>*, std::vector<uint8_t>*, std::vector<Cidr>*, std::vector<Endpoint>*,
    std::vector<HttpAddress>*>;

struct Key {
    Section section;
    std::string_view name;
    /// `listen` is the [[listen]] section of the key; keys of other sections ignore it.
    Member (*member)(Config& config, ListenerConfig& listen);
    Unit unit = Unit::none;
    /// In the unit of the key: for a text in bytes, for a list in elements. Both are 0 if there are
    /// no bounds.
    uint64_t min = 0;
    uint64_t max = 0;
    Effect effect = Effect::reload;
    bool required = false;                   ///< in each [[listen]]
    std::optional<ServiceKind> only_of = {}; ///< only this service has the key
};

/// By section, in the printed order.
std::span<const Key> keys();
/// Null if the section has no such key.
const Key* find_key(Section section, std::string_view name);
/// Of a number: "from 1 to 1000000", "at least 1ms", "at most 10ms".
std::string bounds(const Key& key);
/// 'idle_timeout'; '[metrics] listen' if several sections have a key of this name.
std::string quoted(const Key& key);

/// True if both have the same value. Not for keys of [[listen]], whose sections have no
/// counterpart.
bool same(const Key& key, const Config& a, const Config& b);

/// Resets the keys that only a restart can change to their running values; returns those that
/// differed.
std::vector<const Key*> keep_until_restart(const Config& running, Config& wanted);

} // namespace riposte::schema
