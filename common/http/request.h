// The head of one HTTP request, as far as a server of metrics needs it: method, path, query,
// version and the Accept fields. RFC 9110 and 9112.
//
// A request is fed as its bytes arrive. The sizes of the pieces make no difference: each byte is
// read once, in order, and the first one that decides counts. So garbage is refused at its first
// control byte or at the end of its first line, without waiting for the end of the head. Bytes
// after the decision are not read: the server discards a body.
//
// It holds one line and the Accept fields, never more than a head may have. It knows no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace riposte {

class HttpRequest {
public:
    /// Request line, fields and the empty line, with their line ends.
    static constexpr size_t head_bytes_max = 8192;

    enum class State : uint8_t {
        reading, ///< not decided yet
        complete,
        bad,
        too_long,
        wrong_version, ///< it is HTTP, but neither 1.0 nor 1.1
    };

    State feed(std::string_view bytes);
    State state() const { return state_; }

    // Of a complete request.
    std::string_view method() const { return method_; }
    std::string_view path() const { return path_; }   ///< without the query; "/" where it has none
    std::string_view query() const { return query_; } ///< after the first '?', as sent
    std::string_view accept() const { return accept_; } ///< all Accept fields as one list

private:
    void feed_line();
    State read_request_line(std::string_view line);
    State read_field(std::string_view line);
    State end_of_head() const;

    State state_ = State::reading;
    size_t size_ = 0;
    std::string line_; ///< without its end
    bool has_request_line_ = false;
    bool needs_host_ = false; ///< HTTP/1.1
    uint32_t hosts_ = 0;
    std::string method_;
    std::string path_;
    std::string query_;
    std::string accept_;
};

} // namespace riposte
