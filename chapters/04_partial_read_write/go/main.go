// Step 4 in Go: a connection is a stream of bytes, and the server finds the messages in it.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"time"
)

const maxConnections = 10_000

func main() {
	log.SetFlags(0)
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: split-message or every-byte")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] ADDR")
	}
	handlers := map[string]func(net.Conn) error{
		"":              echoLines,
		"split-message": echoReads,
		"every-byte":    onlyATimeout,
	}
	handle, found := handlers[*pitfall]
	if !found {
		log.Fatalf("there is no pitfall %q here", *pitfall)
	}
	listener, err := net.Listen("tcp", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	serve(listener, handle)
}

func serve(listener net.Listener, handle func(net.Conn) error) {
	permits := make(chan struct{}, maxConnections)
	var pause time.Duration
	for {
		permits <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			<-permits
			if pause = 2*pause + 5*time.Millisecond; pause > time.Second {
				pause = time.Second
			}
			log.Printf("cannot accept a client, pausing for %v: %v", pause, err)
			time.Sleep(pause)
			continue
		}
		pause = 0
		go func() {
			defer func() { <-permits }()
			defer closeGently(conn)
			if err := handle(conn); err != nil {
				log.Print(err)
			}
		}()
	}
}

// ANCHOR: server
func echoLines(conn net.Conn) error {
	reader := bufio.NewReader(conn)
	for {
		// Reads until a whole line is there, and keeps what has come of the next.
		line, err := reader.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			// Bytes and an error at once: half a command must not be carried out as if it were a whole one.
			return fmt.Errorf("%v: %d bytes of a line, then %w", conn.RemoteAddr(), len(line), err)
		}
		// Fprintf puts the answer together for one Write, and that goes on until all is taken: what Rust has write_all
		// for. TCP_NODELAY is on as well, unless one turns it off.
		if _, err := fmt.Fprintf(conn, "echo: %s", line); err != nil {
			return err
		}
	}
}

// closeGently reads on for a second before it closes. With bytes unread, Close would make the kernel send a reset, which
// can destroy the last answer. One deadline is for all these reads together, as is needed here.
func closeGently(conn net.Conn) {
	defer conn.Close()
	if conn.(*net.TCPConn).CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, conn)
	}
}

// ANCHOR_END: server

// ANCHOR: pitfall
// echoReads takes what one Read returns for one message. It may be a part of one, or several.
func echoReads(conn net.Conn) error {
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "echo: %s\n", bytes.TrimSuffix(buffer[:n], []byte("\n")))
	}
}

// onlyATimeout goes on after a deadline has ended a Write in the middle: the rest of that answer is lost.
func onlyATimeout(conn net.Conn) error {
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		fmt.Fprintf(conn, "echo: %s", line)
	}
}

// ANCHOR_END: pitfall
