// What net.Listen makes of an address, and who reaches it then.
package main

import (
	"errors"
	"fmt"
	"net"
)

// ANCHOR: listen
func try(network, addr string) {
	l, err := net.Listen(network, addr)
	var noHost *net.DNSError
	if errors.As(err, &noHost) {
		fmt.Printf("%-4s %-13q a lookup of the host %q failed\n", network, addr, noHost.Name)
		return
	}
	if err != nil {
		fmt.Printf("%-4s %-13q %v\n", network, addr, err)
		return
	}
	defer l.Close()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	fmt.Printf("%-4s %-13q listens on %q; IPv4: %s, IPv6: %s\n",
		network, addr, host, reach("127.0.0.1", port), reach("::1", port))
}

// ANCHOR_END: listen

func reach(host, port string) string {
	c, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return "refused"
	}
	c.Close()
	return "reached"
}

func main() {
	for _, addr := range []string{"8080", "8080:80", "::1:8080", ":65536", "", "127.0.0.1:", ":0", "0.0.0.0:0", "localhost:0"} {
		try("tcp", addr)
	}
	try("tcp4", ":0")
}
