package kube

import (
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// vocabulary is how objects are written and read.
type vocabulary struct {
	kinds      *runtime.Scheme
	codecs     serializer.CodecFactory
	parameters runtime.ParameterCodec
}

// words has the groups of k8s.io/api that the suite uses. client-go has a vocabulary of all
// of them, which is 20 MB of a program.
var words = sync.OnceValue(func() vocabulary {
	kinds := runtime.NewScheme()
	metav1.AddToGroupVersion(kinds, schema.GroupVersion{Version: "v1"}) // of what is no group's, such as errors
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
	} {
		if err := add(kinds); err != nil {
			panic(err) // a kind twice: a fault of this list
		}
	}
	return vocabulary{kinds, serializer.NewCodecFactory(kinds), runtime.NewParameterCodec(kinds)}
})
