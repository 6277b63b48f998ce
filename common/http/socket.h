// The sockets on which a program serves HTTP.
//
// A process that is killed leaves the file of its unix socket behind. A socket file of the same
// user on which no process answers is replaced; any other file stays and is an error.
#pragma once

#include "common/endpoint.h"
#include "common/error.h"
#include "common/fd.h"
#include "common/reason.h"

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace riposte {

/// How many connections may wait in the kernel; more would wait for longer than a client does.
inline constexpr int http_backlog = 128;

/// The file of a socket that was bound here. The destructor removes it, unless another file has
/// replaced it.
class SocketFile {
public:
    SocketFile() = default;
    explicit SocketFile(std::string path); ///< the file exists
    SocketFile(SocketFile&& other) noexcept
        : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}
    SocketFile& operator=(SocketFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(device_, other.device_);
        std::swap(inode_, other.inode_);
        return *this;
    }
    SocketFile(const SocketFile&) = delete;
    SocketFile& operator=(const SocketFile&) = delete;
    ~SocketFile();

    explicit operator bool() const { return !path_.empty(); }

private:
    std::string path_; ///< "": none
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

/// A socket on which HTTP is served.
struct HttpSocket {
    Fd fd;               ///< non-blocking, listening
    std::string address; ///< "tcp://127.0.0.1:9701", with the port that the kernel gave
    SocketFile file{};
    Reason note{}; ///< which address is missing and why, or empty
};

/// A socket at this path, to which all users may connect. Call it before threads start: it changes
/// the umask for a moment.
Result<HttpSocket> listen_on_unix(const std::string& path);

/// A socket for each address of the endpoint; `*` is every address of IPv6 and IPv4, or of the one
/// that this machine has.
Result<std::vector<HttpSocket>> listen_on_tcp(const Endpoint& endpoint);

} // namespace riposte
