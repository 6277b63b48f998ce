// Go: the net package, a goroutine for each connection with a buffer of its own, one processor.
//
// Write returns when the kernel has taken everything, so that reading stops meanwhile. The package
// sets TCP_NODELAY, SO_REUSEADDR and a backlog of the system's maximum by itself, and the runtime
// raises the limit of open files.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
)

const (
	streamBufferBytes   = 64 * 1024
	datagramBufferBytes = 64 * 1024
)

var greeting = []byte("Hello, i'm server!")

func echo(connection *net.TCPConn) {
	defer connection.Close()
	buffer := make([]byte, streamBufferBytes)
	for {
		size, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:size]); err != nil {
			return
		}
	}
}

func hello(connection *net.TCPConn) {
	defer connection.Close()
	buffer := make([]byte, streamBufferBytes)
	if _, err := connection.Read(buffer); err != nil {
		return
	}
	if _, err := connection.Write(greeting); err != nil {
		return
	}
	if connection.CloseWrite() != nil {
		return
	}
	for {
		if _, err := connection.Read(buffer); err != nil {
			return
		}
	}
}

func serveStreams(port int, serve func(*net.TCPConn)) error {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		connection, err := listener.AcceptTCP()
		if err != nil {
			return err
		}
		go serve(connection)
	}
}

func serveDatagrams(port int) error {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	buffer := make([]byte, datagramBufferBytes)
	for {
		size, peer, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return err
		}
		// What the socket does not take is lost, as datagrams are.
		_, _ = socket.WriteToUDPAddrPort(buffer[:size], peer)
	}
}

func run(mode string, port int) error {
	switch mode {
	case "echo":
		return serveStreams(port, echo)
	case "hello":
		return serveStreams(port, hello)
	case "udp":
		return serveDatagrams(port)
	}
	fmt.Fprintf(os.Stderr, "go: there is no mode %s here\n", mode)
	os.Exit(2)
	return io.EOF
}

func main() {
	runtime.GOMAXPROCS(1)
	port := 0
	if len(os.Args) == 3 {
		port, _ = strconv.Atoi(os.Args[2])
	}
	if port <= 0 || port > 65535 {
		fmt.Fprintln(os.Stderr, "usage: go MODE PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1], port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
