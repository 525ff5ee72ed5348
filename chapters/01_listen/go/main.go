// Step 1 in Go: listen where you said you would, say where that is, and answer one client.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
)

func main() {
	log.SetFlags(0)
	pitfall := flag.String("pitfall", "", "run with the mistake `NAME`: every-interface or port-taken")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: main [-pitfall NAME] ADDR")
	}
	servers := map[string]func(addr string) error{
		"":                run,
		"every-interface": onlyIPv4,
		"port-taken":      withoutLooking,
	}
	run, found := servers[*pitfall]
	if !found {
		log.Fatalf("there is no pitfall %q here", *pitfall)
	}
	if err := run(flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

// ANCHOR: server
func run(addr string) error {
	// Listen does by itself what the Rust server of this step spells out. It takes ":8080" for every address of this
	// machine, IPv4 and IPv6, quotes the address in its error, sets SO_REUSEADDR except on Windows, and asks for the
	// longest queue that the system gives.
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return answerOne(listener)
}

func answerOne(listener net.Listener) error {
	// Ask the listener, not the argument: the port may have been 0, the host a name.
	fmt.Println("listening on", listener.Addr())
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	// What one Read returns is taken for one message. Chapter 4 shows what is wrong with that.
	buffer := make([]byte, 4096)
	n, err := conn.Read(buffer)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "echo: %s\n", bytes.TrimSuffix(buffer[:n], []byte("\n")))
	return err
}

// ANCHOR_END: server

// ANCHOR: pitfall
// onlyIPv4 believes that ":8080" means 0.0.0.0:8080. A client that resolves localhost to ::1 is refused.
func onlyIPv4(addr string) error {
	listener, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	return answerOne(listener)
}

// withoutLooking goes on with a nil listener. It crashes, and does not say that the port is taken.
func withoutLooking(addr string) error {
	listener, _ := net.Listen("tcp", addr)
	return answerOne(listener)
}

// ANCHOR_END: pitfall
