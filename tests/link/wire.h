// The link's end of a veth(4) pair: IP packets as they come, with the kernel's stamp, and as they
// go. packet(7), SOCK_DGRAM: the link layer's header is the kernel's.
#pragma once

#include "packet.h"

#include <array>
#include <cstdint>
#include <string>

namespace riposte::link {

inline constexpr size_t packet_bytes_max = 9'216;

/// CLOCK_MONOTONIC.
int64_t now_ns();

class Wire {
public:
    Wire() = default;
    ~Wire();
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    /// Switches off what would let packets come without checksums or joined to greater ones. False:
    /// `error` says what failed.
    bool open(const std::string& device, const std::array<uint8_t, 6>& peer, std::string& error);

    int fd() const { return fd_; }

    /// Calls take(bytes, when it came) for what has come; false: there was nothing.
    template<typename Take>
    bool read(Take&& take) {
        const int count = receive();
        for (int i = 0; i < count; ++i) {
            if (came(static_cast<size_t>(i)))
                take(packet(static_cast<size_t>(i)), at_ns(static_cast<size_t>(i)));
        }
        return count > 0;
    }

    bool send(const Bytes& packet);

    /// How many the kernel has dropped since the last call, because they were not read in time.
    uint64_t drops();

private:
    static constexpr size_t batch = 64;
    struct Batch;

    int receive();
    bool came(size_t index) const;
    Bytes packet(size_t index) const;
    int64_t at_ns(size_t index) const;

    int fd_ = -1;
    int index_ = 0;
    std::array<uint8_t, 6> peer_{};
    Batch* batch_ = nullptr;
};

} // namespace riposte::link
