package workspace

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modelops-suite/modelops-go/contracts"
	"github.com/modelops-suite/modelops-go/modelops/internal/certificate"
	"github.com/modelops-suite/modelops-go/modelops/internal/kube"
)

// Certificate is the Secret with what scheduler, workers and drivers know each other by. Its
// keys are those that every maker of certificates uses, so that it may be another's.
const Certificate = "modelops-tls"

const (
	certificateDir = "/etc/modelops/tls" // in pods
	authorityKey   = "ca.crt"            // beside corev1.TLSCertKey and TLSPrivateKeyKey
)

// What reads a certificate reads it once, when it starts: a new one ends what talks by the
// old one. So there is rarely one.
const (
	certifiedFor = 5 * 365 * 24 * time.Hour
	renewBefore  = 365 * 24 * time.Hour // the end of that
)

// Certify gives the spec the certificate that the workspace in the cluster has, or a new one
// where it has none or one that is to be renewed. One that somebody else put there is left
// to them: the spec then has none.
func (s *Spec) Certify(ctx context.Context, c *kube.Cluster, now time.Time) error {
	s.Certificate = nil
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: Certificate, Namespace: s.Namespace()}}
	err := c.Get(ctx, secret)
	if e := contracts.AsError(err); e != nil && e.Code != contracts.CodeNotFound {
		return err
	}
	if _, ours := secret.Labels[workspaceLabel]; err == nil && !ours {
		return usable(secret, now)
	}
	has := &certificate.Shared{Key: secret.Data[corev1.TLSPrivateKeyKey], Certificate: secret.Data[corev1.TLSCertKey], Authority: secret.Data[authorityKey]}
	if _, good := certificate.Renew(has.Certificate, has.Key, now, renewBefore); good && len(has.Authority) > 0 {
		s.Certificate = has
		return nil
	}
	s.Certificate, err = issue(now)
	return err
}

func issue(now time.Time) (*certificate.Shared, error) {
	return certificate.Issue("modelops workspace", now, certifiedFor)
}

// usable is an error where pods could not talk by somebody else's certificate.
func usable(secret *corev1.Secret, now time.Time) error {
	_, good := certificate.Renew(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], now, 0)
	if good && len(secret.Data[authorityKey]) > 0 {
		return nil
	}
	return &contracts.Error{Code: contracts.CodeConflict, Stage: contracts.StageProvision,
		Message: "Secret " + Certificate + " is not of this program's making, and has no certificate with key and authority that is good now",
		Hint:    "mend it where it is made, or remove it and have mops workspace up make one: kubectl delete secret " + Certificate + " --namespace " + secret.Namespace}
}

// NewCertificate is the Secret with a new certificate, for those who apply the manifests
// otherwise. It is theirs: "up" leaves it alone.
func NewCertificate(s Spec, now time.Time) (kube.Object, error) {
	shared, err := issue(now)
	if err != nil {
		return nil, err
	}
	secret := s.certificate(shared)
	delete(secret.Labels, workspaceLabel)
	secret.GetObjectKind().SetGroupVersionKind(kube.Kind(secret))
	return secret, nil
}

func (s Spec) certificate(shared *certificate.Shared) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: s.meta(Certificate, "workspace"), Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		corev1.TLSPrivateKeyKey: shared.Key, corev1.TLSCertKey: shared.Certificate, authorityKey: shared.Authority,
	}}
}

// withCertificate mounts the certificate into a pod and its containers. The pod changes when
// this program changes the certificate.
func (s Spec) withCertificate(template *corev1.PodTemplateSpec) {
	if s.Certificate != nil {
		template.Annotations["modelops.io/certificate"] = digestOf(map[string][]byte{corev1.TLSCertKey: s.Certificate.Certificate})
	}
	template.Spec.Volumes = append(template.Spec.Volumes, secretVolume(certificateVolume, Certificate))
	for i := range template.Spec.Containers {
		c := &template.Spec.Containers[i]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: certificateVolume, MountPath: certificateDir, ReadOnly: true})
	}
}

// tlsFiles is where pods have the certificate.
func tlsFiles() *contracts.ComputeTLS {
	return &contracts.ComputeTLS{
		CAFile: certificateDir + "/" + authorityKey, CertFile: certificateDir + "/" + corev1.TLSCertKey, KeyFile: certificateDir + "/" + corev1.TLSPrivateKeyKey,
	}
}

// tlsArgs have one of Dask's programs talk TLS, and nothing else.
func tlsArgs() []string {
	files := tlsFiles()
	return []string{"--protocol", "tls", "--tls-ca-file", files.CAFile, "--tls-cert", files.CertFile, "--tls-key", files.KeyFile}
}

// encrypted has Dask refuse whatever else somebody may tell it.
func encrypted() corev1.EnvVar {
	return corev1.EnvVar{Name: "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", Value: "True"}
}

func secretVolume(name, secret string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret, DefaultMode: new(int32(0o440))}}}
}
