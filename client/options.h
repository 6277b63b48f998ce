// The command line of riposte(1): one subcommand each for what the client can do.
//
// What every subcommand takes is in CommonOptions; what only one takes is in its own struct, and
// the struct that stands in `command` says which one was asked for. Everything is validated here:
// what comes after never meets a bad endpoint, a zero timeout or a transport left open.
#pragma once

#include "common/address.h"
#include "common/endpoint.h"
#include "common/error.h"

#include <cstdint>
#include <string>
#include <variant>

namespace riposte::client {

inline constexpr uint16_t default_port = 7001;

enum class Color : uint8_t { automatic, always, never };

struct CommonOptions {
    Family family = Family::any;
    uint32_t timeout_ms = 5000;
    std::string source; ///< a local address without a port; empty: the kernel chooses
    Color color = Color::automatic;
};

/// --help, --version: print it on standard output, exit 0.
struct Answer {
    std::string text;
};

struct SendOptions {
    Endpoint endpoint;   ///< transport and port are always set
    std::string message; ///< unused with `message_from_input`
    bool message_from_input = false;
    bool verbose = false;
};

struct Options {
    CommonOptions common;
    std::variant<Answer, SendOptions> command;
};

/// Exit::usage with one clear line on any fault (CLI11's own exit codes never get out).
Result<Options> parse_options(int argc, const char* const* argv);

} // namespace riposte::client
