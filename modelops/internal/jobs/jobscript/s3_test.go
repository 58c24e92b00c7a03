//go:build unix

package jobscript

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3"
	"github.com/modelops-suite/modelops-go/modelops-bundle/blobstore/s3test"
)

// TestS3 runs the scripts of testdata/s3, with the storage of the environment "cloud" in
// an S3 server and its registry that of the local one.
func TestS3(t *testing.T) {
	server := s3test.Start(t)
	storage := server.Bucket("team-blobs")
	storage.Prefix = "team/seir"
	store, err := s3.Open(storage, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/s3",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			if err := setup(env); err != nil {
				return err
			}
			env.Setenv("KEY", server.SecretKey)
			return cloud(env, storage)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"await": await, "table": checkTable, "killjob": killJob, "exits": exits,
		},
	})
}
