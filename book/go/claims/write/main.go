// Whether Write of a net.Conn takes a part and says nothing.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func pair() (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	client, _ = net.Dial("tcp", l.Addr().String())
	server, _ = l.Accept()
	return client, server
}

func main() {
	const size = 64 << 20
	message := make([]byte, size)

	// ANCHOR: writes
	client, server := pair()
	go io.CopyBuffer(io.Discard, struct{ io.Reader }{server}, make([]byte, 1000)) // reads in small steps
	n, err := client.Write(message)
	fmt.Println("a slow reader: all of it:", n == size, "error:", err)

	client, server = pair() // nobody reads
	client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	n, err = client.Write(message)
	fmt.Println("nobody reads: a part:", 0 < n && n < size, "error:", errors.Is(err, os.ErrDeadlineExceeded))

	client, server = pair()
	server.Close() // a peer that has gone
	n, err = client.Write([]byte("hello\n"))
	fmt.Println("the peer has gone, first write:", n, err)
	// ANCHOR_END: writes
}
