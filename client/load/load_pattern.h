// The bytes that a load run sends over a stream, and the verification of their echo.
//
// They are an endless stream: a random table whose length is a prime, over and over. Each
// connection starts somewhere else in it, and a request is just the next so many bytes. So no two
// requests that wait on a connection are the same, and an answer that was left out, sent twice or
// taken from another connection is as wrong as one whose bytes were damaged; and any piece that
// arrives, however it was cut, is compared by one memcmp(3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace riposte::client {

class LoadPattern {
public:
    /// The longest piece that at() gives, and that matches() takes.
    static constexpr size_t piece_bytes_max = 65536;

    /// For requests of this size, which is no multiple of the period.
    LoadPattern(uint64_t seed, size_t request_bytes);

    size_t period() const { return period_; }
    /// `bytes` of the stream from a position on; position < period().
    std::span<const std::byte> at(size_t position, size_t bytes) const {
        return {bytes_.data() + position, bytes};
    }
    size_t advance(size_t position, size_t bytes) const {
        position += bytes;
        return position < period_ ? position : position % period_;
    }
    bool matches(size_t position, std::span<const std::byte> piece) const;

private:
    size_t period_;
    std::vector<std::byte> bytes_; ///< the table, then its beginning again: piece_bytes_max more
};

} // namespace riposte::client
