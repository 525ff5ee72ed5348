// Step 5 in Go: lines through a buffer, of bounded length, answered in as few writes as can be.
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

const (
	maxConnections = 10_000
	maxLine        = 64 * 1024
)

func main() {
	log.SetFlags(0)
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: endless-line, withheld-answer or pipelined-lines")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] ADDR")
	}
	handlers := map[string]func(net.Conn) error{
		"":                echoLines,
		"endless-line":    readString,
		"withheld-answer": flushAtTheEnd,
		"pipelined-lines": readerPerLine,
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
	// ReadSlice takes a line only if it fits into the buffer: room for the longest and its \r\n. A Scanner is bounded as
	// well, to 64 KiB, but takes half a line at the end for a whole one, and can't tell whether another line waits.
	reader := bufio.NewReaderSize(conn, maxLine+2)
	writer := bufio.NewWriter(conn)
	for {
		line, err := reader.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return fmt.Errorf("%v: %d bytes of a line, then %w", conn.RemoteAddr(), len(line), err)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) > maxLine {
			fmt.Fprintf(writer, "error: line too long (limit %d bytes)\n", maxLine)
			return writer.Flush()
		}
		fmt.Fprintf(writer, "echo: %s\n", line) // an error stays in the writer until Flush
		// Before waiting, or the client waits as well. Not after every line: those that came together are answered
		// together.
		waiting, _ := reader.Peek(reader.Buffered())
		if bytes.IndexByte(waiting, '\n') < 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

// ANCHOR_END: server

// closeGently reads on for a second before it closes, or the client might lose the last answer to a reset.
func closeGently(conn net.Conn) {
	defer conn.Close()
	if conn.(*net.TCPConn).CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, conn)
	}
}

// ANCHOR: pitfall
// readString collects until a newline comes. The size of the buffer bounds nothing.
func readString(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, 4096)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "echo: %s", line)
	}
}

// flushAtTheEnd keeps every answer until the client leaves, who waits for them.
func flushAtTheEnd(conn net.Conn) error {
	writer := bufio.NewWriter(conn)
	defer writer.Flush()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Fprintf(writer, "echo: %s\n", lines.Bytes())
	}
	return lines.Err()
}

// readerPerLine loses what each reader has read ahead.
func readerPerLine(conn net.Conn) error {
	for {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "echo: %s", line)
	}
}

// ANCHOR_END: pitfall
