// Step 8 in Go: no client keeps a place longer than it may. The stop is step 6's, and left out here.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const maxLine = 64 * 1024

var (
	lineTime  = flag.Duration("line", 10*time.Second, "give a line so long from its first byte to its end")
	idleTime  = flag.Duration("idle", 75*time.Second, "let a client say nothing between two lines for so long")
	writeTime = flag.Duration("write", 10*time.Second, "give a client so long to take an answer")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-line DURATION] [-idle DURATION] [-write DURATION] ADDR")
	}
	listener, err := net.Listen("tcp", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go handle(conn)
	}
}

func handle(conn net.Conn) {
	err := echoLines(conn)
	if err != nil {
		log.Print(conn.RemoteAddr(), ": ", err)
	}
	var writing *net.OpError
	if errors.As(err, &writing) && writing.Op == "write" {
		// Nobody knows how much of the answer has arrived: a reset says that it isn't whole.
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		return
	}
	closeGently(conn)
}

// ANCHOR: lines
func echoLines(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, maxLine+2)
	writer := bufio.NewWriter(conn)
	for {
		if reader.Buffered() == 0 {
			conn.SetReadDeadline(time.Now().Add(*idleTime))
			_, err := reader.Peek(1) // waits for the beginning of a line, and takes nothing
			if err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		// Set once for the whole line: it is a point in time, and holds for every Read until then.
		conn.SetReadDeadline(time.Now().Add(*lineTime))
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			conn.SetWriteDeadline(time.Now().Add(*writeTime))
			fmt.Fprintf(writer, "error: too slow (limit %v)\n", *lineTime)
			return writer.Flush()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return fmt.Errorf("%d bytes of a line, then %w", len(line), err)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		// One for all Writes of the answer, too.
		conn.SetWriteDeadline(time.Now().Add(*writeTime))
		if len(line) > maxLine {
			fmt.Fprintf(writer, "error: line too long (limit %d bytes)\n", maxLine)
			return writer.Flush()
		}
		fmt.Fprintf(writer, "echo: %s\n", line)
		waiting, _ := reader.Peek(reader.Buffered())
		if bytes.IndexByte(waiting, '\n') < 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

// ANCHOR_END: lines

// closeGently reads on for a second before it closes, or the client might lose the last answer to a reset.
func closeGently(conn net.Conn) {
	defer conn.Close()
	if conn.(*net.TCPConn).CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, conn)
	}
}
