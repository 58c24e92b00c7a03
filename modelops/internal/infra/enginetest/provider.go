package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Type is a type of resources.
type Type struct {
	// ID is the provider's ID of a resource with these inputs.
	ID func(inputs map[string]any) string
	// Check finds what the cloud would refuse; nil refuses nothing. Inputs that are not
	// known yet are absent.
	Check func(inputs map[string]any) []Problem
	// Outputs are what the cloud adds to the inputs; nil adds nothing.
	Outputs func(id string, inputs map[string]any) map[string]any
	Secrets []string // outputs that are secret
	Replace []string // inputs whose change makes another resource
}

// Problem is an input that the cloud refuses.
type Problem struct{ Property, Reason string }

// Function answers an invocation.
type Function func(cloud Cloud, args map[string]any) (map[string]any, error)

// Provider is a plugin over a [Cloud].
type Provider struct {
	Name, Version string
	Types         map[string]Type
	Functions     map[string]Function
}

// Main serves the engine that started this process until the engine is done with it.
func (p Provider) Main() {
	cloud := Cloud{Dir: os.Getenv(cloudVariable)}
	if cloud.Dir == "" {
		fmt.Fprintln(os.Stderr, cloudVariable+" is not set")
		os.Exit(1)
	}
	err := provider.MainContext(context.Background(), p.Name, func(*provider.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return &server{Provider: p, cloud: cloud}, nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type server struct {
	pulumirpc.UnimplementedResourceProviderServer
	Provider
	cloud Cloud
}

func (s *server) Handshake(context.Context, *pulumirpc.ProviderHandshakeRequest) (*pulumirpc.ProviderHandshakeResponse, error) {
	return &pulumirpc.ProviderHandshakeResponse{AcceptSecrets: true, AcceptOutputs: true}, nil
}

func (s *server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: s.Version}, nil
}

func (s *server) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	schema, err := json.Marshal(map[string]string{"name": s.Name, "version": s.Version})
	return &pulumirpc.GetSchemaResponse{Schema: string(schema)}, err
}

func (s *server) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// Cancel lets calls come to their end.
func (s *server) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (s *server) CheckConfig(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.News}, nil
}

func (s *server) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
}

func (s *server) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, AcceptOutputs: true, SupportsPreview: true}, nil
}

func (s *server) Check(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	t, ok := s.Types[r.Type]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "there is no type %s", r.Type)
	}
	inputs, err := values(r.News)
	if err != nil {
		return nil, err
	}
	answer := &pulumirpc.CheckResponse{Inputs: r.News}
	if t.Check != nil {
		for _, p := range t.Check(inputs) {
			answer.Failures = append(answer.Failures, &pulumirpc.CheckFailure{Property: p.Property, Reason: p.Reason})
		}
	}
	return answer, nil
}

func (s *server) Diff(_ context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	old, err := values(r.OldInputs)
	if err != nil {
		return nil, err
	}
	fresh, err := values(r.News)
	if err != nil {
		return nil, err
	}
	answer := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}
	for _, key := range slices.Sorted(maps.Keys(union(old, fresh))) {
		if reflect.DeepEqual(old[key], fresh[key]) {
			continue
		}
		answer.Changes = pulumirpc.DiffResponse_DIFF_SOME
		answer.Diffs = append(answer.Diffs, key)
		if slices.Contains(s.Types[r.Type].Replace, key) {
			answer.Replaces = append(answer.Replaces, key)
		}
	}
	answer.DeleteBeforeReplace = len(answer.Replaces) > 0 // its ID may be the same
	return answer, nil
}

func (s *server) Create(_ context.Context, r *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	inputs, err := values(r.Properties)
	if err != nil {
		return nil, err
	}
	if r.Preview {
		outputs, err := s.properties(r.Type, "", inputs)
		return &pulumirpc.CreateResponse{Properties: outputs}, err
	}
	id := s.Types[r.Type].ID(inputs)
	outputs, err := s.properties(r.Type, id, inputs)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: outputs}, s.do(Call{"create", r.Type, r.Name, id}, func() error {
		if found, err := s.cloud.Get(id); err != nil || found != nil {
			return fmt.Errorf("cannot create already existing resource '%s'", id)
		}
		return s.cloud.Put(Resource{ID: id, Type: r.Type, Name: r.Name, Inputs: inputs})
	})
}

func (s *server) Read(_ context.Context, r *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	answer := &pulumirpc.ReadResponse{}
	return answer, s.do(Call{"read", r.Type, r.Name, r.Id}, func() error {
		found, err := s.cloud.Get(r.Id)
		if err != nil || found == nil {
			return err
		}
		answer.Id = r.Id
		if answer.Properties, err = s.properties(r.Type, r.Id, found.Inputs); err != nil {
			return err
		}
		answer.Inputs, err = structpb.NewStruct(found.Inputs)
		return err
	})
}

func (s *server) Update(_ context.Context, r *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	inputs, err := values(r.News)
	if err != nil {
		return nil, err
	}
	outputs, err := s.properties(r.Type, r.Id, inputs)
	if err != nil || r.Preview {
		return &pulumirpc.UpdateResponse{Properties: outputs}, err
	}
	return &pulumirpc.UpdateResponse{Properties: outputs}, s.do(Call{"update", r.Type, r.Name, r.Id}, func() error {
		return s.cloud.Put(Resource{ID: r.Id, Type: r.Type, Name: r.Name, Inputs: inputs})
	})
}

func (s *server) Delete(_ context.Context, r *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, s.do(Call{"delete", r.Type, r.Name, r.Id}, func() error { return s.cloud.Remove(r.Id) })
}

func (s *server) Invoke(_ context.Context, r *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	args, err := values(r.Args)
	if err != nil {
		return nil, err
	}
	f, ok := s.Functions[r.Tok]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "there is no function %s", r.Tok)
	}
	answer := &pulumirpc.InvokeResponse{}
	return answer, s.do(Call{Op: "invoke", Type: r.Tok}, func() error {
		result, err := f(s.cloud, args)
		if err != nil {
			return err
		}
		answer.Return, err = structpb.NewStruct(result)
		return err
	})
}

// do is a call with the faults before and after its effect.
func (s *server) do(call Call, effect func() error) error {
	if err := s.cloud.log(call); err != nil {
		return err
	}
	if err := s.cloud.meet(call, false); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	return s.cloud.meet(call, true)
}

// properties are the outputs of a resource, its secrets marked.
func (s *server) properties(typ, id string, inputs map[string]any) (*structpb.Struct, error) {
	t := s.Types[typ]
	all := maps.Clone(inputs)
	if t.Outputs != nil && id != "" {
		maps.Copy(all, t.Outputs(id, inputs))
	}
	properties := resource.NewPropertyMapFromMap(all)
	for _, key := range t.Secrets {
		if v, ok := properties[resource.PropertyKey(key)]; ok {
			properties[resource.PropertyKey(key)] = resource.MakeSecret(v)
		}
	}
	return plugin.MarshalProperties(properties, plugin.MarshalOptions{KeepSecrets: true})
}

// values are properties as JSON has them: secrets in plain text, without what is not
// known yet.
func values(properties *structpb.Struct) (map[string]any, error) {
	m, err := plugin.UnmarshalProperties(properties, plugin.MarshalOptions{SkipNulls: true, SkipInternalKeys: true})
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(m.Mappable())
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	return plain, json.Unmarshal(data, &plain)
}

func union(a, b map[string]any) map[string]any {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]any{}
	}
	maps.Copy(both, b)
	return both
}
