package workspace

import (
	"bytes"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Documents are the manifests as they are written, in the order in which they can be
// applied; without Secrets unless these are to be shown.
func Documents(objects []kube.Object, secrets bool) []map[string]any {
	documents := []map[string]any{}
	for _, o := range objects {
		if _, isSecret := o.(*corev1.Secret); !isSecret || secrets {
			documents = append(documents, kube.Document(o))
		}
	}
	return documents
}

// YAML are documents in one stream, each key in the order of its name.
func YAML(documents []map[string]any) ([]byte, error) {
	var b bytes.Buffer
	for _, document := range documents {
		data, err := yaml.Marshal(document)
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(data)
	}
	return b.Bytes(), nil
}
