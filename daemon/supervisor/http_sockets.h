// The sockets on which the daemon serves its metrics: inherited from the service manager under the
// name "metrics", or bound here as [metrics] listen says. They stay open until the process ends; a
// reload does not change them.
//
// A process that is killed leaves the file of its unix socket behind. A socket file of the same
// user on which no process answers is replaced; any other file stays and is an error.
#pragma once

#include "common/error.h"
#include "common/fd.h"
#include "common/reason.h"
#include "daemon/platform/systemd.h"
#include "daemon/telemetry/metrics_config.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace riposte {

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

struct HttpSocket {
    Fd fd;               ///< non-blocking, listening
    std::string address; ///< "tcp://127.0.0.1:9701", with the port that the kernel gave
    SocketFile file{};
    Reason note{}; ///< which address is missing and why, or empty
};

/// True for the FileDescriptorName= of a socket for metrics.
bool is_metrics_name(std::string_view name);

/// Takes the sockets named "metrics" out of `inherited`. A socket that is not a listening stream of
/// IPv4, IPv6 or AF_UNIX is refused (Exit::config).
Result<std::vector<HttpSocket>> take_http_sockets(std::vector<systemd::InheritedSocket>& inherited);

/// Binds all, or none. Call it before threads start: it changes the umask for a moment, so that all
/// users may connect to a unix socket.
Result<std::vector<HttpSocket>> bind_http_sockets(const MetricsConfig& config);

/// More are an error: the server polls each in turn.
inline constexpr size_t http_sockets_max = 64;

/// The inherited sockets; if there are none, those of the configuration.
Result<std::vector<HttpSocket>> open_http_sockets(
    const MetricsConfig& config, std::vector<systemd::InheritedSocket>& inherited);

} // namespace riposte
