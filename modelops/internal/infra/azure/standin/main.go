// Command standin serves the resource types of the azure-native plugin that mops
// uses to Pulumi's real engine, for tests. Its cloud is a directory named cloud beside
// the executable, which must be called pulumi-resource-azure-native:
//
//	cloud.json   what there is, by resource id, and what was made, changed and deleted
//	faults.json  what is to go wrong, see fault
//	paused       while an operation waits by a fault; removed, it goes on
//
// It proves what the engine and mops do, not what Azure does. What of Azure matters to
// them is checked: names and where they must be unique, required and unknown properties,
// parents that must exist, creating what is already there, deleting what others lie in.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(path), "cloud")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{Init: func(s *grpc.Server) error {
		pulumirpc.RegisterResourceProviderServer(s, newServer(cloud{dir: dir}))
		return nil
	}})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port) // the engine reads it
	return <-handle.Done
}
