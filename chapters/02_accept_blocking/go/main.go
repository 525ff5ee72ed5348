// Step 2 in Go: serve one client after the other, and let no client end that.
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

const readTimeout = 30 * time.Second

func main() {
	log.SetFlags(0)
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: next-client or reset-before-accept")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] ADDR")
	}
	servers := map[string]func(net.Listener){
		"":                    serve,
		"next-client":         func(l net.Listener) { log.Fatal(returnErrors(l, endIsAnError)) },
		"reset-before-accept": func(l net.Listener) { log.Fatal(returnErrors(l, handle)) },
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
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Print("cannot accept a client, going on: ", err)
			continue
		}
		// One client's error is no reason to leave this loop. Both addresses stand in it: they are known since Accept.
		if err := handle(conn); err != nil {
			log.Print(err)
		}
	}
}

func handle(conn net.Conn) error {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		// A deadline is a point in time, where a timeout in Rust is for each read anew. So it is set before each Read.
		conn.SetReadDeadline(time.Now().Add(readTimeout))
		n, err := conn.Read(buffer)
		// The end of the stream is an error by its type only.
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(conn, "echo: %s\n", bytes.TrimSuffix(buffer[:n], []byte("\n"))); err != nil {
			return err
		}
	}
}

// ANCHOR_END: server

// ANCHOR: pitfall
// returnErrors hands every error on, as is right nearly everywhere in Go. Here it ends the service for all.
func returnErrors(listener net.Listener, handle func(net.Conn) error) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := handle(conn); err != nil {
			return err
		}
	}
}

// endIsAnError hands on io.EOF as well: the first client that leaves in peace ends the server.
func endIsAnError(conn net.Conn) error {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "echo: %s\n", bytes.TrimSuffix(buffer[:n], []byte("\n")))
	}
}

// ANCHOR_END: pitfall
