#include "daemon/io/fifo.h"

#include <array>

#include <doctest/doctest.h>

using namespace riposte;

TEST_CASE("a fifo returns items in order, one by one and several at a time") {
    Fifo<int> fifo;
    int in = 0;
    int out = 0;
    for (int round = 0; round < 100; ++round) {
        for (int i = 0; i < round % 7; ++i)
            fifo.push(in++);
        for (int& item : fifo.extend(3))
            item = in++;
        CHECK(fifo.size() == static_cast<size_t>(in - out));
        CHECK(fifo.pop() == out++);
        std::array<int, 5> taken{};
        const size_t count = fifo.deliver(taken);
        for (size_t i = 0; i < count; ++i)
            CHECK(taken[i] == out++);
    }
    while (!fifo.empty())
        CHECK(fifo.pop() == out++);
    CHECK(out == in);
    CHECK(fifo.size() == 0);
    std::array<int, 1> none{};
    CHECK(fifo.deliver(none) == 0);
}

TEST_CASE("a fifo that is never empty stays small") {
    Fifo<int> fifo(4);
    int in = 0;
    int out = 0;
    for (; in < 10; ++in)
        fifo.push(in);
    for (; in < 100'000; ++in) {
        fifo.push(in);
        REQUIRE(fifo.pop() == out++);
    }
    CHECK(fifo.size() == 10);
    CHECK(fifo.capacity() <= 64);
}
