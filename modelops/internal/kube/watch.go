package kube

import (
	"context"
	"iter"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/modelops-suite/modelops-go/contracts"
)

// retryPause is how long Watch waits before it tries again what failed.
const retryPause = time.Second

// Event is what became of an object.
type Event struct {
	Object  Object // as it is now, or as it was last
	Deleted bool
}

// Watch lists what is selected, and then tells of every change, until the context or the
// loop ends. list says the kind, and is not touched. An object that is gone after a broken
// connection is told as deleted.
//
// An error is yielded with a zero event. One that may pass ends nothing: who goes on with
// the loop has it tried again after a second. After any other, or the end of the context,
// the loop ends.
func (c *Cluster) Watch(ctx context.Context, list ObjectList, s Selection) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watcher{cluster: c, list: list, selection: s, known: map[types.UID]Object{}, yield: yield}
		for ctx.Err() == nil && !w.left {
			err := w.follow(ctx)
			if err == nil || ctx.Err() != nil || w.left {
				continue
			}
			if !yield(Event{}, err) || !contracts.AsError(err).Retryable {
				return
			}
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
			}
		}
	}
}

// watcher is one loop over what is watched.
type watcher struct {
	cluster   *Cluster
	list      ObjectList
	selection Selection
	known     map[types.UID]Object // what the loop believes to be there
	version   string               // up to which everything was told; empty to list again
	yield     func(Event, error) bool
	left      bool // the loop was left
}

// follow lists if need be, and watches until the connection ends. That it ends is no error.
func (w *watcher) follow(ctx context.Context) error {
	if w.version == "" {
		if err := w.catchUp(ctx); err != nil || w.left {
			return err
		}
	}
	client, err := w.cluster.client(Kind(w.list).GroupVersion())
	if err != nil {
		return err
	}
	options := metav1.ListOptions{
		LabelSelector: w.selection.Labels, FieldSelector: w.selection.Fields,
		Watch: true, ResourceVersion: w.version, AllowWatchBookmarks: true,
	}
	stream, err := w.cluster.selected(client, w.list, w.selection).VersionedParams(&options, words().parameters).Watch(ctx)
	if err != nil {
		return w.failed(ctx, err)
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		if event.Type == watch.Error {
			return w.failed(ctx, apierrors.FromObject(event.Object))
		}
		o, ok := event.Object.(Object)
		if !ok {
			continue
		}
		w.version = o.GetResourceVersion()
		if event.Type != watch.Bookmark && !w.tell(o, event.Type == watch.Deleted) {
			return nil
		}
	}
	return nil
}

// failed is what a broken watch ends with: nil when listing again mends it.
func (w *watcher) failed(ctx context.Context, err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		w.version = ""
		return nil
	}
	return w.cluster.translate(ctx, "watch", plural(w.list), err)
}

// catchUp lists, and tells what differs from what is known.
func (w *watcher) catchUp(ctx context.Context) error {
	now, ok := w.list.DeepCopyObject().(ObjectList)
	if !ok {
		panic("a list's copy is a list")
	}
	if err := w.cluster.List(ctx, now, w.selection); err != nil {
		return err
	}
	there := map[types.UID]bool{}
	for _, o := range Items(now) {
		there[o.GetUID()] = true
		before := w.known[o.GetUID()]
		if before != nil && before.GetResourceVersion() == o.GetResourceVersion() {
			continue
		}
		if !w.tell(o, false) {
			return nil
		}
	}
	for uid, o := range w.known {
		if !there[uid] && !w.tell(o, true) {
			return nil
		}
	}
	w.version = now.GetResourceVersion()
	return nil
}

// tell is false when the loop was left.
func (w *watcher) tell(o Object, deleted bool) bool {
	if deleted {
		delete(w.known, o.GetUID())
	} else {
		w.known[o.GetUID()] = o
	}
	w.left = !w.yield(Event{Object: o, Deleted: deleted}, nil)
	return !w.left
}
