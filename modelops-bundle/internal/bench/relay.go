//go:build unix

package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// relay stands between a client and the registry, counts the bytes of TCP in both
// directions, and slows them down when a link is given. Over the loopback the kernel
// splices, so that the relay costs next to nothing.
type relay struct {
	host     string // 127.0.0.1:port
	listener net.Listener
	target   string
	up, down atomic.Int64
	mu       sync.Mutex
	open     int // connections
	idle     *sync.Cond
	out, in  *lane // nil: as fast as it goes
}

// link is what a network lets through in each direction, and how far it is.
type link struct {
	name   string
	rate   float64       // bytes a second; 0 is the loopback
	travel time.Duration // there and back
}

func newRelay(target string, l link) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{host: listener.Addr().String(), listener: listener, target: target}
	r.idle = sync.NewCond(&r.mu)
	if l.rate > 0 {
		r.out, r.in = &lane{rate: l.rate, delay: l.travel / 2}, &lane{rate: l.rate, delay: l.travel / 2}
	}
	go r.serve()
	return r, nil
}

func (r *relay) serve() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.count(1)
		go func() {
			defer r.count(-1)
			r.carry(client.(*net.TCPConn))
		}()
	}
}

func (r *relay) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open += n; r.open == 0 {
		r.idle.Broadcast()
	}
}

func (r *relay) carry(client *net.TCPConn) {
	defer client.Close()
	if r.out != nil {
		time.Sleep(2 * r.out.delay) // TCP's handshake
	}
	conn, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { r.up.Add(r.out.copy(server, client)); _ = server.CloseWrite() })
	both.Go(func() { r.down.Add(r.in.copy(client, server)); _ = client.CloseWrite() })
	both.Wait()
}

// settle waits until no connection is open, and answers with the bytes since it last did.
func (r *relay) settle() (up, down int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.open > 0 {
		r.idle.Wait()
	}
	return r.up.Swap(0), r.down.Swap(0)
}

// lane is one direction of a link, shared by all connections.
type lane struct {
	rate  float64
	delay time.Duration
	mu    sync.Mutex
	free  time.Time // when the last byte that was admitted has left
}

// copy is io.Copy through the lane; a nil lane is no lane.
func (l *lane) copy(to, from *net.TCPConn) int64 {
	if l == nil {
		n, _ := io.Copy(to, from)
		return n
	}
	type parcel struct {
		bytes []byte
		due   time.Time
	}
	// As many parcels as are under way at the full rate, and some.
	travelling := make(chan parcel, 64)
	var n int64
	var delivered sync.WaitGroup
	delivered.Go(func() {
		for p := range travelling {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes)
		}
	})
	for {
		buffer := make([]byte, 16<<10)
		k, err := from.Read(buffer)
		if k > 0 {
			n += int64(k)
			travelling <- parcel{buffer[:k], l.admit(k)}
		}
		if err != nil {
			break
		}
	}
	close(travelling)
	delivered.Wait()
	return n
}

// admit says when n more bytes arrive.
func (l *lane) admit(n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return l.free.Add(l.delay)
}
