// What a status document says (packaging/schema/riposte-status-1.schema.json), read strictly: a key
// that is missing or of another type is an error that names it, because a missing figure
// must not be shown as 0, unless the schema says that it may be missing. Unknown keys are
// ignored: a newer daemon may have more.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace riposte::client {

struct StatusFigures {
    struct Limit {
        std::string name;
        std::optional<uint64_t> used; ///< not known there
        std::optional<uint64_t> max;
        std::string unit; ///< "bytes", ""
    };
    struct Listener {
        std::string service;
        std::string address; ///< "tcp://127.0.0.1:7001"
        bool inherited = false;
        uint64_t connections = 0; ///< open; 0 on UDP, as the next one
        uint64_t accepted = 0;
        uint64_t received = 0; ///< datagrams; 0 on TCP, as the next one
        uint64_t answered = 0;
        uint64_t received_bytes = 0;
        uint64_t sent_bytes = 0;
        uint64_t refused = 0;
    };
    struct Service {
        std::string service;
        std::string transport;
        uint64_t answers = 0;
        double p50 = 0; ///< seconds, as the next ones
        double p99 = 0;
        double p999 = 0;
        double mean = 0;
    };
    struct Refused {
        std::string transport;
        std::string reason;
        std::string text; ///< for people
        uint64_t count = 0;
    };
    struct AcceptError {
        std::string name; ///< "EMFILE"
        uint64_t count = 0;
    };

    std::string version;
    uint64_t pid = 0;
    double time = 0; ///< seconds since 1970, as the next ones
    double start_time = 0;
    std::string state; ///< "running", "draining", "aborting"
    std::string backend;
    std::string backend_reason;
    uint64_t workers = 0;
    std::string sandbox;
    uint64_t reloads = 0;
    bool reload_ok = true;
    double reload_time = 0;
    std::string reload_error;
    std::vector<Limit> limits;
    std::vector<Listener> listeners;
    uint64_t listeners_omitted = 0;
    std::vector<Service> services;
    std::vector<Refused> refused;
    std::vector<AcceptError> accept_errors;
};

/// The error is one line: "listeners[2].accepted is not a number".
std::expected<StatusFigures, std::string> read_status(std::string_view document);

/// A document that read_status() understood, for programs: on one line, which ends with it, and in
/// ASCII, because a terminal obeys U+009B as it does an escape.
std::string one_line(std::string_view document);

} // namespace riposte::client
