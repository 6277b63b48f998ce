// The few elements of SVG that the plot is made of. Coordinates are in pixels, y downwards; how
// things look is said by classes.
#pragma once

#include <string>
#include <string_view>

namespace riposte::client {

/// `text` for the inside of an element or an attribute: markup escaped, and what XML does not allow
/// (control characters, broken UTF-8) replaced by U+FFFD.
std::string xml_text(std::string_view text);

struct Point {
    double x;
    double y;
};

/// A path that grows; an empty one draws nothing.
class SvgPath {
public:
    void move_to(Point to);
    void line_to(Point to);
    void close();
    void dot(Point at); ///< as wide as the stroke, if that has round caps
    bool empty() const { return data_.empty(); }
    std::string element(std::string_view classes) const; ///< "" if empty

private:
    std::string data_;
};

std::string svg_line(Point from, Point to, std::string_view classes);
std::string svg_rect(Point corner, double width, double height, std::string_view classes);
std::string svg_circle(Point center, double radius, std::string_view classes);
/// `classes` say where the text is anchored, too.
std::string svg_text(Point at, std::string_view text, std::string_view classes);

} // namespace riposte::client
