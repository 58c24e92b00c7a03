package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// LogOptions say what of a container's log.
type LogOptions struct {
	Namespace string // empty for the cluster's
	Container string // empty for the only one
	Follow    bool   // until the container ends
	Previous  bool   // of the container's run before this one
	Tail      int64  // lines from the end; 0 for all
}

// Logs is what a pod's container wrote, to be closed. It ends with the context.
func (c *Cluster) Logs(ctx context.Context, pod string, opt LogOptions) (io.ReadCloser, error) {
	client, err := c.client(schema.GroupVersion{Version: "v1"})
	if err != nil {
		return nil, err
	}
	options := &corev1.PodLogOptions{Container: opt.Container, Follow: opt.Follow, Previous: opt.Previous}
	if opt.Tail > 0 {
		options.TailLines = &opt.Tail
	}
	stream, err := client.Get().Namespace(c.orOwn(opt.Namespace)).Resource("pods").Name(pod).SubResource("log").
		VersionedParams(options, words().parameters).Stream(ctx)
	if err != nil {
		return nil, c.translate(ctx, "read the log of", "Pod "+pod, err)
	}
	return stream, nil
}

// Forward makes a port of a pod a port of this machine, on the loopback only, until the
// context or the connection ends. local 0 is any free one. ready is told which.
func (c *Cluster) Forward(ctx context.Context, pod string, local, remote int, ready func(local int)) error {
	there := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: c.Namespace}}
	if err := c.Get(ctx, there); err != nil { // what the upgrade says of it is no status
		return err
	}
	dialer, err := c.dialer(pod)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesWithContext(ctx, dialer, []string{"127.0.0.1"},
		[]string{fmt.Sprintf("%d:%d", local, remote)}, done, io.Discard, io.Discard)
	if err != nil {
		return c.translate(ctx, "forward a port of", "Pod "+pod, err)
	}
	go func() {
		select {
		case <-done:
			if ports, err := forwarder.GetPorts(); err == nil && len(ports) > 0 {
				ready(int(ports[0].Local))
			}
		case <-ctx.Done():
		}
	}()
	if err := forwarder.ForwardPorts(); err != nil && ctx.Err() == nil {
		return c.translate(ctx, "forward a port of", "Pod "+pod, err)
	}
	return nil
}

// dialer connects with a pod as kubectl does: over a WebSocket, and over SPDY with API
// servers, or proxies before them, that do not know that.
func (c *Cluster) dialer(pod string) (httpstream.Dialer, error) {
	client, err := c.client(schema.GroupVersion{Version: "v1"})
	if err != nil {
		return nil, err
	}
	address := client.Post().Namespace(c.Namespace).Resource("pods").Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, invalid("the connection with "+c.Host(), err)
	}
	over := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	socket, err := portforward.NewSPDYOverWebsocketDialer(address, c.config)
	if err != nil {
		return nil, invalid("the connection with "+c.Host(), err)
	}
	return portforward.NewFallbackDialer(socket, over, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// orOwn is the namespace, or the cluster's.
func (c *Cluster) orOwn(namespace string) string {
	if namespace == "" {
		return c.Namespace
	}
	return namespace
}
