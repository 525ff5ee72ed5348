// What io.EOF says, what it doesn't, and the last line that has no newline.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

func pair() (client, server *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	c, _ := net.Dial("tcp", l.Addr().String())
	s, _ := l.Accept()
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func main() {
	// ANCHOR: ends
	client, server := pair()
	client.CloseWrite() // "I have said everything", and still reading
	_, err := server.Read(make([]byte, 1))
	fmt.Println("after CloseWrite, Read:", err, "is io.EOF:", err == io.EOF)
	fmt.Fprint(server, "answer\n")
	answer, err := bufio.NewReader(client).ReadString('\n')
	fmt.Printf("and the client still reads: %q %v\n", answer, err)

	client, server = pair()
	client.SetLinger(0) // Close sends a reset
	client.Close()
	_, err = server.Read(make([]byte, 1))
	fmt.Println("after a reset, is io.EOF:", err == io.EOF, "is ECONNRESET:", errors.Is(err, syscall.ECONNRESET))

	client, server = pair()
	fmt.Fprint(client, "no newline")
	client.Close()
	text, err := bufio.NewReader(server).ReadString('\n')
	fmt.Printf("ReadString of a line cut short: %q %v\n", text, err)
	// ANCHOR_END: ends
}
