package kube

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/modelops-suite/modelops-go/contracts"
)

// Object is a pointer to one of the kinds of k8s.io/api, as in *appsv1.Deployment.
type Object interface {
	runtime.Object
	metav1.Object
}

// ObjectList is a pointer to a list of one of them, as in *corev1.PodList.
type ObjectList interface {
	runtime.Object
	metav1.ListInterface
}

// Selection says which objects of a kind. The zero value is all of the cluster's namespace.
type Selection struct {
	Namespace  string // empty for the cluster's
	Everywhere bool   // in all namespaces, or of a kind that lies in none
	Labels     string // as in kubectl -l; empty for all
	Fields     string // as in kubectl --field-selector
}

// ApplyOptions say how objects are applied.
type ApplyOptions struct {
	DryRun bool // judged and defaulted by the API server, and not kept
	Force  bool // take fields that somebody else manages
}

// Kind is what an object is, as in Deployment, and "Deployment modelops-worker" in messages.
func Kind(o runtime.Object) schema.GroupVersionKind {
	kinds, _, err := words().kinds.ObjectKinds(o)
	if err != nil {
		panic(err) // of no kind of k8s.io/api: a fault of the caller
	}
	return kinds[0]
}

// Name is an object for people, as in "Deployment modelops-worker".
func Name(o Object) string { return Kind(o).Kind + " " + o.GetName() }

// Document is the object as it is applied and rendered: with apiVersion and kind, without
// status and without what is empty because Go has no absence.
func Document(o Object) map[string]any {
	typed := o.DeepCopyObject()
	typed.GetObjectKind().SetGroupVersionKind(Kind(o))
	document, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		panic(err) // types of k8s.io/api are all convertible
	}
	delete(document, "status")
	prune(document)
	return document
}

// prune removes nulls, and maps that Go's types always write. An empty map is kept where it
// says something, as in emptyDir: {} and podSelector: {}.
func prune(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			m, isMap := inner.(map[string]any)
			prune(inner)
			idle := key == "resources" || key == "strategy" || key == "updateStrategy" || key == "metadata"
			if inner == nil || isMap && len(m) == 0 && idle {
				delete(v, key)
			}
		}
	case []any:
		for _, inner := range v {
			prune(inner)
		}
	}
}

// Apply makes the object be as it is given, by server-side apply, and fills it with what
// there is then. Fields that are not given stay as others set them. Where somebody else
// manages a field with another value the error is a conflict, unless it is forced.
func (c *Cluster) Apply(ctx context.Context, o Object, opt ApplyOptions) error {
	data, err := json.Marshal(Document(o))
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict, Force: &opt.Force}
	if opt.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return c.call(ctx, "apply", o, func(client *rest.RESTClient) *rest.Request {
		return client.Patch(types.ApplyPatchType).Name(o.GetName()).VersionedParams(&options, words().parameters).Body(data)
	})
}

// Create makes the object, and fills it with what there is then; a conflict when there is
// one of that name.
func (c *Cluster) Create(ctx context.Context, o Object, opt ApplyOptions) error {
	data, err := json.Marshal(Document(o))
	if err != nil {
		return err
	}
	options := metav1.CreateOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict}
	if opt.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return c.call(ctx, "create", o, func(client *rest.RESTClient) *rest.Request {
		return client.Post().VersionedParams(&options, words().parameters).Body(data)
	})
}

// Patch changes what a JSON merge patch says, and fills the object with what there is then.
func (c *Cluster) Patch(ctx context.Context, o Object, merge []byte) error {
	options := metav1.PatchOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict}
	return c.call(ctx, "change", o, func(client *rest.RESTClient) *rest.Request {
		return client.Patch(types.MergePatchType).Name(o.GetName()).VersionedParams(&options, words().parameters).Body(merge)
	})
}

// Get fills an object that has its name, and its namespace where it has one.
func (c *Cluster) Get(ctx context.Context, o Object) error {
	return c.call(ctx, "read", o, func(client *rest.RESTClient) *rest.Request { return client.Get().Name(o.GetName()) })
}

// Delete removes the object, and what it owns, in the background. What is not there is
// removed already: found is false. Where the object has a UID, only the one that has it
// goes.
func (c *Cluster) Delete(ctx context.Context, o Object) (found bool, err error) {
	propagation := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &propagation}
	if uid := o.GetUID(); uid != "" {
		options.Preconditions = metav1.NewUIDPreconditions(string(uid))
	}
	client, err := c.client(Kind(o).GroupVersion())
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = c.translate(ctx, "remove", Name(o), c.at(client.Delete(), o).Name(o.GetName()).Body(&options).Do(ctx).Error())
	if contracts.Except(err, contracts.CodeNotFound) != nil {
		return false, err
	}
	return err == nil, nil
}

// List fills the list with what is selected, as it was at one moment.
func (c *Cluster) List(ctx context.Context, list ObjectList, s Selection) error {
	client, err := c.client(Kind(list).GroupVersion())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: s.Labels, FieldSelector: s.Fields}
	return c.translate(ctx, "list", plural(list), c.selected(client, list, s).VersionedParams(&options, words().parameters).Do(ctx).Into(list))
}

// Items are the list's objects.
func Items(list ObjectList) []Object {
	var objects []Object
	_ = meta.EachListItem(list, func(item runtime.Object) error { // of a typed list, which has only objects
		if o, ok := item.(Object); ok {
			objects = append(objects, o)
		}
		return nil
	})
	return objects
}

func (c *Cluster) call(ctx context.Context, verb string, o Object, request func(*rest.RESTClient) *rest.Request) error {
	client, err := c.client(Kind(o).GroupVersion())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := words().kinds.New(Kind(o))
	if err != nil {
		return err
	}
	if err := c.at(request(client), o).Do(ctx).Into(answer); err != nil {
		return c.translate(ctx, verb, Name(o), err)
	}
	reflect.ValueOf(o).Elem().Set(reflect.ValueOf(answer).Elem()) // of one type: o's kind was asked for
	return nil
}

// at addresses an object's kind in its namespace.
func (c *Cluster) at(r *rest.Request, o Object) *rest.Request {
	return r.NamespaceIfScoped(o.GetNamespace(), o.GetNamespace() != "").Resource(resource(Kind(o)))
}

func (c *Cluster) selected(client *rest.RESTClient, list ObjectList, s Selection) *rest.Request {
	return client.Get().NamespaceIfScoped(c.orOwn(s.Namespace), !s.Everywhere).Resource(plural(list))
}

// resource is the word for a kind in the API's paths. For every kind of k8s.io/api that is
// used here the rule gives the right one; asking the cluster costs requests.
func resource(kind schema.GroupVersionKind) string {
	r, _ := meta.UnsafeGuessKindToResource(kind)
	return r.Resource
}

// plural is the word in the API's paths for what a list holds.
func plural(list ObjectList) string {
	kind := Kind(list)
	kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	return resource(kind)
}
