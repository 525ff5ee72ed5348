// What the page "In Python, JavaScript, Go and C" says of Go, seen in a run. Ends with an error if one isn't so.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func seen(trap string, isSo bool) {
	if !isSo {
		fmt.Fprintf(os.Stderr, "%s: this is not so in %s\n", trap, runtime.Version())
		os.Exit(1)
	}
	fmt.Println(trap)
}

// pair makes a client, and the server's side of its connection.
func pair() (client, server *net.TCPConn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// panics is this program again, as a server one of whose goroutines panics.
func panics() {
	go func() { panic("one client") }()
	select {}
}

func main() {
	if len(os.Args) > 1 {
		panics()
	}
	seen("a-panic-in-a-goroutine-ends-the-server", exec.Command(os.Args[0], "panics").Run() != nil)

	client, server := pair()
	client.Write([]byte("one\ntwo\n"))
	client.CloseWrite()
	first, _ := bufio.NewReader(server).ReadString('\n')
	_, err := bufio.NewReader(server).ReadString('\n')
	seen("a-second-reader-lacks-what-the-first-read", first == "one\n" && err == io.EOF)

	client, server = pair()
	client.Write([]byte("half a line"))
	client.CloseWrite()
	scanner := bufio.NewScanner(server)
	seen("a-scanner-gives-half-a-line-as-a-line", scanner.Scan() && scanner.Text() == "half a line" && scanner.Err() == nil)

	client, server = pair()
	go client.Write(append(bytes.Repeat([]byte("x"), 70000), '\n'))
	scanner = bufio.NewScanner(server)
	seen("a-scanner-stops-at-64-kib", !scanner.Scan() && errors.Is(scanner.Err(), bufio.ErrTooLong))

	client, server = pair()
	client.Write([]byte("12"))
	client.CloseWrite()
	_, err = io.ReadFull(server, make([]byte, 4))
	seen("read-full-tells-a-part-from-nothing", err == io.ErrUnexpectedEOF)
	_, err = io.ReadFull(server, make([]byte, 4))
	seen("read-full-of-nothing-is-eof", err == io.EOF)

	// A deadline is a moment: it isn't moved by what comes before it, and it stays set after it.
	client, server = pair()
	server.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	buffer := make([]byte, 1)
	for {
		client.Write([]byte("x"))
		if _, err = server.Read(buffer); err != nil {
			break
		}
	}
	seen("a-deadline-bounds-all-reads-together", errors.Is(err, os.ErrDeadlineExceeded))
	_, err = server.Read(buffer)
	seen("a-deadline-stays", errors.Is(err, os.ErrDeadlineExceeded))

	// Nagle is off: each write goes by itself.
	client, server = pair()
	raw, _ := server.SyscallConn()
	raw.Control(func(fd uintptr) {
		off, _ := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
		seen("tcp-nodelay-is-set", off != 0)
	})

	// Close with unread input is a reset here as well.
	client.Write(bytes.Repeat([]byte("x"), 1000))
	io.ReadFull(server, buffer)
	server.Close()
	_, err = io.ReadAll(client)
	seen("close-with-unread-input-resets", errors.Is(err, syscall.ECONNRESET))

	// Close of a listener ends Accept with an error that isn't EOF.
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	ended := make(chan error)
	go func() { _, err := listener.Accept(); ended <- err }()
	listener.Close()
	seen("close-ends-accept", errors.Is(<-ended, net.ErrClosed))

	both, _ := net.Listen("tcp", ":0")
	seen("empty-host-is-both-families", strings.HasPrefix(both.Addr().String(), "[::]"))
	runtime.KeepAlive(client)
}
