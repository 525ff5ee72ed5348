// wg.Add inside the goroutine: an order that the scheduler may choose, forced.
package main

import (
	"fmt"
	"sync"
)

func main() {
	// ANCHOR: late
	var wg sync.WaitGroup
	begin := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		<-begin // the scheduler has not come to this goroutine yet
		wg.Add(1)
		defer wg.Done()
		close(finished)
	}()
	wg.Wait()
	select {
	case <-finished:
		fmt.Println("Wait returned, and the work is done")
	default:
		fmt.Println("Wait returned, and the work has not begun")
	}
	close(begin)
	<-finished
	// ANCHOR_END: late
}
