// A context that has ended, and a Read that hasn't.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	client, _ := net.Dial("tcp", l.Addr().String())
	server, _ := l.Accept()

	// ANCHOR: context
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	read := make(chan string)
	go func() {
		buffer := make([]byte, 100)
		n, err := server.Read(buffer)
		read <- fmt.Sprintf("%q %v", buffer[:n], err)
	}()
	<-ctx.Done()
	fmt.Println("the context:", ctx.Err())
	fmt.Fprint(client, "sent afterwards")
	fmt.Println("the Read:", <-read)

	server.SetReadDeadline(time.Now())
	_, err = server.Read(make([]byte, 1))
	fmt.Println("with a read deadline:", errors.Is(err, os.ErrDeadlineExceeded))
	// ANCHOR_END: context
}
