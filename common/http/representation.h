// The representations of a document of metrics, and which of them a request asks for (RFC 9110,
// 12.5.1). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace riposte {

enum class Representation : uint8_t { text, openmetrics, json };

inline constexpr size_t representation_kinds = 3;

/// The best of those offered by the value of an Accept field ("" if there is none). The highest q
/// wins, then the most specific range, then the first range. If none of them is acceptable, and
/// among equals, it is the first one offered.
Representation negotiate(std::string_view accept, std::span<const Representation> offered);

/// The value of Content-Type.
std::string_view content_type(Representation representation);

} // namespace riposte
