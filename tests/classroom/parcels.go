// Exercise 4 in Go. With --naive, every read is taken for a whole parcel.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const largest = 1024 * 1024

func main() {
	listener, err := net.Listen("tcp", os.Args[len(os.Args)-1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	naive := os.Args[1] == "--naive"
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go serve(connection.(*net.TCPConn), naive)
	}
}

func serve(connection *net.TCPConn, naive bool) {
	defer connection.Close()
	if naive {
		answerReads(connection)
	} else if refusal := answerParcels(connection); refusal != "" {
		send(connection, []byte(refusal))
	}
	// Closed with bytes unread, it would be reset, and the last answer lost.
	connection.CloseWrite()
	connection.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, connection)
}

// Answers parcels until the end, or until one that has to be refused with this text.
func answerParcels(connection *net.TCPConn) string {
	reader := bufio.NewReader(connection)
	for {
		var header [4]byte
		count, err := io.ReadFull(reader, header[:])
		if err == io.EOF {
			return ""
		}
		if err != nil {
			return fmt.Sprintf("error: cut off after %d of 4 bytes", count)
		}
		length := binary.BigEndian.Uint32(header[:])
		if length > largest {
			return "error: too large"
		}
		contents := make([]byte, length)
		if count, err := io.ReadFull(reader, contents); err != nil {
			return fmt.Sprintf("error: cut off after %d of %d bytes", count, length)
		}
		reverse(contents)
		send(connection, contents)
	}
}

func reverse(bytes []byte) {
	for left, right := 0, len(bytes)-1; left < right; left, right = left+1, right-1 {
		bytes[left], bytes[right] = bytes[right], bytes[left]
	}
}

func send(connection *net.TCPConn, contents []byte) {
	connection.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(contents))), contents...))
}

func answerReads(connection *net.TCPConn) {
	buffer := make([]byte, 4+largest)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if count > 4 {
			reverse(buffer[4:count])
		}
		connection.Write(buffer[:count])
	}
}
