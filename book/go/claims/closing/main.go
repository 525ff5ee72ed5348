// Closing a listener: who is turned away, who stays, and how to know the error.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"syscall"
)

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return l
}

func dial(l net.Listener) net.Conn {
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	return c
}

// ANCHOR: flag
// Stops by a flag that is looked at between two calls of Accept.
func byFlag() {
	l := listen()
	quit, ended := make(chan struct{}), make(chan struct{})
	looked := make(chan struct{}) // only to make the order below certain
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			default:
				looked <- struct{}{}
			}
			c, _ := l.Accept()
			fmt.Fprint(c, "hello\n")
		}
	}()
	<-looked
	close(quit)
	answer, _ := bufio.NewReader(dial(l)).ReadString('\n')
	fmt.Printf("the flag is raised; the next client is served: %q\n", answer)
	<-ended
	dial(l)
	fmt.Println("the loop has ended; one more client: connected, and nobody will ever answer")
	l.Close()
}

// ANCHOR_END: flag

// ANCHOR: close
func byClose() {
	l := listen()
	accepted, server := dial(l), make(chan net.Conn)
	go func() { c, _ := l.Accept(); server <- c }()
	mine := <-server
	queued := dial(l) // connected by the kernel, never accepted
	l.Close()

	_, err := l.Accept()
	fmt.Println("Accept: err == net.ErrClosed:", err == net.ErrClosed)
	fmt.Println("Accept: errors.Is(err, net.ErrClosed):", errors.Is(err, net.ErrClosed))

	fmt.Fprint(mine, "still here\n")
	answer, err := bufio.NewReader(accepted).ReadString('\n')
	fmt.Printf("accepted before: %q %v\n", answer, err)

	_, err = queued.Read(make([]byte, 1))
	fmt.Println("in the queue: reset:", errors.Is(err, syscall.ECONNRESET))

	_, err = net.Dial("tcp", l.Addr().String())
	fmt.Println("new: refused:", errors.Is(err, syscall.ECONNREFUSED))
}

// ANCHOR_END: close

func main() {
	byFlag()
	byClose()
}
