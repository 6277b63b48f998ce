// The values of control messages (cmsg(3)), which need not be aligned.
#pragma once

#include <cstring>

#include <sys/socket.h>

namespace riposte {

template<class Value>
Value control_value(const cmsghdr* control) noexcept {
    Value value{};
    std::memcpy(&value, CMSG_DATA(control), sizeof value);
    return value;
}

} // namespace riposte
