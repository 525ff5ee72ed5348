// A line of 10,000 bytes through a bufio.Reader of the default size.
package main

import (
	"bufio"
	"fmt"
	"strings"
)

func reader(size int) *bufio.Reader {
	return bufio.NewReader(strings.NewReader(strings.Repeat("x", size) + "\n"))
}

func main() {
	// ANCHOR: readers
	fmt.Println("default size of the buffer:", reader(0).Size())

	text, err := reader(10_000).ReadString('\n')
	fmt.Println("ReadString:", len(text), err)

	line, err := reader(10_000).ReadSlice('\n')
	fmt.Println("ReadSlice: ", len(line), err)

	scanner := bufio.NewScanner(reader(70_000))
	fmt.Println("Scanner:   ", scanner.Scan(), scanner.Err())

	small := bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 100)+"\n"), 16)
	text, err = small.ReadString('\n')
	fmt.Println("ReadString, buffer of 16:", len(text), err)

	text, err = reader(64 << 20).ReadString('\n')
	fmt.Println("ReadString, line of 64 MiB:", len(text), err)
	// ANCHOR_END: readers
}
