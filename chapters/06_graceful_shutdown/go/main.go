// Step 6 in Go: stop when asked to, and lose nothing that was promised.
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
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	maxConnections = 10_000
	maxLine        = 64 * 1024
	// How long after a signal the server still takes what may have arrived before it.
	notice = 100 * time.Millisecond
)

func main() {
	log.SetFlags(0)
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: finishes-line or stuck-client")
	grace := flag.Duration("grace", 5*time.Second, "after a signal, let lines in progress finish for so long")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] [-grace DURATION] ADDR")
	}
	s := &server{grace: *grace, conns: make(map[net.Conn]bool)}
	servers := map[string]func(net.Listener, chan os.Signal){
		"":              s.run,
		"finishes-line": s.returnAtOnce,
		"stuck-client":  s.waitForEver,
	}
	run, found := servers[*pitfall]
	if !found {
		log.Fatalf("there is no pitfall %q here", *pitfall)
	}
	listener, err := net.Listen("tcp", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	fmt.Println("listening on", listener.Addr())
	run(listener, signals)
	log.Print("stopped")
}

// server knows all open connections, and whether each is idle: between two lines, and owed nothing.
type server struct {
	grace  time.Duration
	open   sync.WaitGroup
	mutex  sync.Mutex
	conns  map[net.Conn]bool
	stopAt time.Time // no deadline while it is zero
}

// ANCHOR: server
func (s *server) run(listener net.Listener, signals chan os.Signal) {
	go func() {
		<-signals
		signal.Stop(signals) // a second signal ends the process at once
		stopAt := time.Now().Add(notice)
		// Close would wake Accept as well, unlike in Rust. But it resets the clients that the kernel has queued, and
		// those are accepted until a deadline.
		listener.(*net.TCPListener).SetDeadline(stopAt)
		s.endIdle(stopAt)
		// Wait has no limit, and a context ends no Read. Closing the connections ends all that Wait waits for.
		time.AfterFunc(notice+s.grace, s.cut)
	}()
	s.serve(listener)
	listener.Close()
	s.open.Wait()
}

// cut ends every connection in the middle of whatever it does: a blocked Read or Write fails.
func (s *server) cut() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

// ANCHOR_END: server

// ANCHOR: idle
// endIdle ends the Reads that wait for another line, at this time and after. In the middle of a line there is no
// deadline.
func (s *server) endIdle(stopAt time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.stopAt = stopAt
	for conn, idle := range s.conns {
		if idle {
			conn.SetReadDeadline(stopAt)
		}
	}
}

// set notes whether a connection is idle, and gives it the deadline that it has then.
func (s *server) set(conn net.Conn, idle bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.conns[conn] = idle
	if idle {
		conn.SetReadDeadline(s.stopAt)
	} else {
		conn.SetReadDeadline(time.Time{})
	}
}

// ANCHOR_END: idle

func (s *server) serve(listener net.Listener) {
	permits := make(chan struct{}, maxConnections)
	var pause time.Duration
	for {
		permits <- struct{}{}
		conn, err := listener.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
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
		s.set(conn, false)
		s.open.Add(1) // here, and not in the goroutine: Wait may be over before that begins
		go func() {
			defer s.open.Done()
			defer func() { <-permits }()
			s.handle(conn)
		}()
	}
}

func (s *server) handle(conn net.Conn) {
	if err := s.echoLines(conn); err != nil {
		log.Print(err)
	}
	closeGently(conn)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.conns, conn)
}

// ANCHOR: lines
func (s *server) echoLines(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, maxLine+2)
	writer := bufio.NewWriter(conn)
	for {
		if reader.Buffered() == 0 {
			s.set(conn, true)
			_, err := reader.Peek(1) // waits for the beginning of a line, and takes nothing
			s.set(conn, false)
			if err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		line, err := reader.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return fmt.Errorf("%v: %d bytes of a line, then %w", conn.RemoteAddr(), len(line), err)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
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

// ANCHOR: pitfall
// returnAtOnce lets main return: the process ends, whatever its goroutines are doing.
func (s *server) returnAtOnce(listener net.Listener, signals chan os.Signal) {
	go s.serve(listener)
	<-signals
}

// waitForEver waits for all connections, and closes the listener last.
func (s *server) waitForEver(listener net.Listener, signals chan os.Signal) {
	var open sync.WaitGroup
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				log.Print("a client from ", conn.RemoteAddr())
				open.Add(1) // too late if Wait has looked already
				defer open.Done()
				s.handle(conn)
			}()
		}
	}()
	<-signals
	open.Wait()      // as long as any client likes to stay
	listener.Close() // and until then new ones are served
}

// ANCHOR_END: pitfall
