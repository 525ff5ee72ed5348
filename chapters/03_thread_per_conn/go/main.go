// Step 3 in Go: a goroutine for each connection, and a bound on how many there are.
package main

import (
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
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: idle-client or out-of-descriptors")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] ADDR")
	}
	servers := map[string]func(net.Listener){
		"":                   serve,
		"idle-client":        withoutGo,
		"out-of-descriptors": fatalAccept,
	}
	serve, found := servers[*pitfall]
	if !found {
		log.Fatalf("there is no pitfall %q here", *pitfall)
	}
	listener, err := net.Listen("tcp", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	serve(listener)
}

// ANCHOR: server
func serve(listener net.Listener) {
	permits := make(chan struct{}, maxConnections)
	var pause time.Duration
	for {
		// Before Accept, not after: a client too many stays in the kernel's queue, and takes no descriptor.
		permits <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			<-permits
			// Out of descriptors, Accept fails at once and leaves the client in the queue.
			if pause = 2*pause + 5*time.Millisecond; pause > time.Second {
				pause = time.Second
			}
			log.Printf("cannot accept a client, pausing for %v: %v", pause, err)
			time.Sleep(pause)
			continue
		}
		pause = 0
		// Unlike the start of a thread, this can't fail. But a panic in here ends the process, not this client alone.
		go func() {
			defer func() { <-permits }()
			handle(conn)
		}()
	}
}

// ANCHOR_END: server

func handle(conn net.Conn) {
	// In Rust the end of the scope does this. Forgotten here, the connection stays open until the garbage collector
	// finds it some day.
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err == io.EOF {
			return
		}
		if err == nil {
			_, err = fmt.Fprintf(conn, "echo: %s\n", bytes.TrimSuffix(buffer[:n], []byte("\n")))
		}
		if err != nil {
			log.Print(err)
			return
		}
	}
}

// ANCHOR: pitfall
// withoutGo lacks one word: while a client is silent, nobody else is accepted.
func withoutGo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		handle(conn)
	}
}

// fatalAccept is as the example in the documentation of package net: it ends when no descriptor
// is left, before anybody else has come.
func fatalAccept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go handle(conn)
	}
}

// ANCHOR_END: pitfall
