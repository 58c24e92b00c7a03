package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// unknown stands for a value that a preview does not know, in Pulumi's protocol.
const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

// version is the plugin's that it stands for.
const version = "2.90.0"

// Who is signed in.
const (
	tenant = "aaaaaaaa-0000-4000-8000-000000000001"
	client = "aaaaaaaa-0000-4000-8000-000000000002"
	user   = "aaaaaaaa-0000-4000-8000-000000000003"
)

type server struct {
	pulumirpc.UnimplementedResourceProviderServer
	cloud        cloud
	kinds        map[string]kind
	subscription string
	cancelled    chan struct{}
	cancelOnce   sync.Once
}

func newServer(c cloud) *server {
	return &server{cloud: c, kinds: kinds(), cancelled: make(chan struct{})}
}

func (s *server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

func (s *server) Handshake(context.Context, *pulumirpc.ProviderHandshakeRequest) (*pulumirpc.ProviderHandshakeResponse, error) {
	return &pulumirpc.ProviderHandshakeResponse{}, nil
}

func (s *server) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// Cancel ends what waits: it is sent when somebody interrupts the engine.
func (s *server) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	s.cancelOnce.Do(func() { close(s.cancelled) })
	return &emptypb.Empty{}, nil
}

func (s *server) CheckConfig(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.GetNews()}, nil
}

func (s *server) DiffConfig(_ context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{}, nil
}

func (s *server) Configure(_ context.Context, r *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	s.subscription, _ = r.GetArgs().AsMap()["subscriptionId"].(string)
	if s.subscription == "" {
		return nil, errors.New("no subscription: set azure-native:subscriptionId")
	}
	return &pulumirpc.ConfigureResponse{SupportsPreview: true}, nil
}

func (s *server) kind(urn string) (string, kind, error) {
	parts := strings.Split(urn, "::")
	types := strings.Split(parts[2], "$")
	token := types[len(types)-1]
	k, ok := s.kinds[token]
	if !ok {
		return "", kind{}, status.Errorf(codes.NotFound, "unrecognized resource type: %s", token)
	}
	return token, k, nil
}

func (s *server) Check(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	_, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.CheckResponse{Inputs: r.GetNews()}
	wrong := k.check(r.GetNews().AsMap())
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		response.Failures = append(response.Failures, &pulumirpc.CheckFailure{Property: name, Reason: wrong[name]})
	}
	return response, nil
}

func (s *server) Diff(_ context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	_, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE, HasDetailedDiff: true, DetailedDiff: map[string]*pulumirpc.PropertyDiff{}}
	for _, path := range k.differing(r.GetOldInputs().AsMap(), r.GetNews().AsMap()) {
		if slices.Contains(r.GetIgnoreChanges(), path) {
			continue
		}
		response.Changes = pulumirpc.DiffResponse_DIFF_SOME
		response.Diffs = append(response.Diffs, path)
		how := pulumirpc.PropertyDiff_UPDATE
		if slices.Contains(k.replaces, path) {
			how = pulumirpc.PropertyDiff_UPDATE_REPLACE
			response.Replaces = append(response.Replaces, path)
		}
		response.DetailedDiff[path] = &pulumirpc.PropertyDiff{Kind: how, InputDiff: true}
	}
	response.DeleteBeforeReplace = len(response.Replaces) > 0
	return response, nil
}

// differing are the properties that differ: those within one where that matters.
func (k kind) differing(before, after map[string]any) []string {
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(k.properties)) {
		if reflect.DeepEqual(before[name], after[name]) {
			continue
		}
		if !slices.ContainsFunc(k.replaces, func(path string) bool { return strings.HasPrefix(path, name+".") }) {
			paths = append(paths, name)
			continue
		}
		was, _ := before[name].(map[string]any)
		is, _ := after[name].(map[string]any)
		for _, inner := range slices.Sorted(maps.Keys(k.properties[name].object)) {
			if !reflect.DeepEqual(was[inner], is[inner]) {
				paths = append(paths, name+"."+inner)
			}
		}
	}
	return paths
}

// foreseen are the outputs in a preview: what Azure answers is not known.
func foreseen(inputs map[string]any) (*structpb.Struct, error) {
	outputs := maps.Clone(inputs)
	for _, computed := range []string{"name", "loginServer", "primaryEndpoints", "type", "identityProfile", "oidcIssuerProfile", "principalId", "clientId", "tenantId"} {
		outputs[computed] = unknown
	}
	return structpb.NewStruct(outputs)
}

func (s *server) Create(ctx context.Context, r *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	token, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	inputs := r.GetProperties().AsMap()
	if r.GetPreview() {
		properties, err := foreseen(inputs)
		return &pulumirpc.CreateResponse{Properties: properties}, err
	}
	id, name := k.place(s.subscription, inputs)
	made := &thing{ID: id, Type: token, Inputs: inputs}
	err = s.effect(ctx, token, "create", func() error {
		return s.cloud.change(func(all contents, did func(operation, id string)) error {
			if err := k.admit(all, made, name); err != nil {
				return err
			}
			switch {
			case strings.HasSuffix(token, ":StorageAccount"), strings.HasSuffix(token, ":Registry"):
				made.Keys = []string{newKey(), newKey()}
			case strings.HasSuffix(token, ":ManagedCluster"):
				made.Keys, made.Self = []string{newKey()}, newGUID()
				made.Keys = append(made.Keys, base64.StdEncoding.EncodeToString(kubeconfigText(made)))
			case strings.HasSuffix(token, ":UserAssignedIdentity"):
				made.Self = newGUID()
			}
			all[strings.ToLower(id)] = made
			did("create", id)
			if k.made != nil {
				k.made(all, made, did)
			}
			return nil
		})
	})
	properties, structErr := k.state(made, name)
	if structErr != nil {
		return nil, structErr
	}
	if partial, ok := errors.AsType[errPartial](err); ok {
		return nil, initFailed(id, properties, r.GetProperties(), partial)
	}
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: properties}, nil
}

// admit is an error when Azure would not make a resource.
func (k kind) admit(all contents, made *thing, name string) error {
	if all.get(made.ID) != nil && !k.always {
		return fmt.Errorf("cannot create already existing resource '%s'", made.ID)
	}
	if above := parent(made.ID); above != "" && all.get(above) == nil {
		if strings.Count(above, "/") == 4 {
			return failure(404, "ResourceGroupNotFound", "Resource group '%s' could not be found.", above[strings.LastIndex(above, "/")+1:])
		}
		return failure(404, "ParentResourceNotFound", "Can not perform requested operation on nested resource. Parent resource '%s' not found.", above)
	}
	if k.create != nil {
		if err := k.create(all, made); err != nil {
			return err
		}
	}
	if k.global == "" {
		return nil
	}
	for _, other := range all {
		if taken, _ := other.Inputs[k.global].(string); strings.EqualFold(taken, name) {
			if k.global == "accountName" && strings.HasSuffix(other.Type, ":StorageAccount") {
				return failure(409, "StorageAccountAlreadyTaken", "The storage account named %s is already taken.", name)
			}
			if k.global == "registryName" {
				return failure(409, "AlreadyInUse", "The registry DNS name %s.azurecr.io is already in use. You can check if the name is already claimed using following API: https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability", name)
			}
		}
	}
	return nil
}

// state is what a resource's outputs are.
func (k kind) state(t *thing, name string) (*structpb.Struct, error) {
	outputs := maps.Clone(t.Inputs)
	outputs["name"] = name
	if k.outputs != nil {
		maps.Copy(outputs, k.outputs(t, name))
	}
	return structpb.NewStruct(outputs)
}

// initFailed is how a plugin says that a resource is there and not well.
func initFailed(id string, properties, inputs *structpb.Struct, because error) error {
	st := status.New(codes.Unknown, because.Error())
	detailed, err := st.WithDetails(&pulumirpc.ErrorResourceInitFailed{Id: id, Properties: properties, Inputs: inputs, Reasons: []string{because.Error()}})
	if err != nil {
		return err
	}
	return detailed.Err()
}

func newGUID() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
}

func newKey() string {
	key := make([]byte, 64)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

func (s *server) Read(ctx context.Context, r *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	token, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.ReadResponse{}
	err = s.effect(ctx, token, "read", func() error {
		return s.cloud.see(func(all contents) error {
			t := all.get(r.GetId())
			if t == nil {
				return nil
			}
			response.Id = r.GetId()
			if response.Properties, err = k.state(t, t.ID[strings.LastIndex(t.ID, "/")+1:]); err != nil {
				return err
			}
			inputs := t.Inputs
			if k.read != nil {
				inputs = k.read(all, t)
			}
			response.Inputs, err = structpb.NewStruct(inputs)
			return err
		})
	})
	return response, err
}

func (s *server) Update(ctx context.Context, r *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	token, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	if r.GetPreview() {
		properties, err := foreseen(r.GetNews().AsMap())
		return &pulumirpc.UpdateResponse{Properties: properties}, err
	}
	response := &pulumirpc.UpdateResponse{}
	err = s.effect(ctx, token, "update", func() error {
		return s.cloud.change(func(all contents, did func(operation, id string)) error {
			t := all.get(r.GetId())
			if t == nil {
				return failure(404, "ResourceNotFound", "The Resource '%s' was not found.", r.GetId())
			}
			inputs := r.GetNews().AsMap()
			if k.update != nil {
				if err := k.update(all, t, inputs); err != nil {
					return err
				}
			}
			t.Inputs = inputs
			if response.Properties, err = k.state(t, t.ID[strings.LastIndex(t.ID, "/")+1:]); err != nil {
				return err
			}
			did("update", t.ID)
			return nil
		})
	})
	return response, err
}

// Delete removes a resource, with all that lies in it, as Azure does.
func (s *server) Delete(ctx context.Context, r *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	token, k, err := s.kind(r.GetUrn())
	if err != nil {
		return nil, err
	}
	err = s.effect(ctx, token, "delete", func() error {
		return s.cloud.change(func(all contents, did func(operation, id string)) error {
			if t := all.get(r.GetId()); t != nil && k.remove != nil {
				if err := k.remove(all, t); err != nil {
					return err
				}
			}
			doomed := []string{r.GetId()}
			if !k.always {
				doomed = append(all.children(r.GetId()), r.GetId())
			}
			for _, id := range doomed {
				if t := all.get(id); t != nil {
					delete(all, strings.ToLower(id))
					did("delete", t.ID)
				}
			}
			return nil
		})
	})
	return &emptypb.Empty{}, err
}

func (s *server) Invoke(ctx context.Context, r *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	args := r.GetArgs().AsMap()
	group := fmt.Sprintf("/subscriptions/%s/resourceGroups/%v/providers/", s.subscription, args["resourceGroupName"])
	_, operation, _ := strings.Cut(strings.TrimPrefix(r.GetTok(), "azure-native:"), ":")
	var answer map[string]any
	err := s.effect(ctx, r.GetTok(), operation, func() error {
		return s.cloud.see(func(all contents) (err error) {
			switch r.GetTok() {
			case "azure-native:authorization:getClientConfig":
				answer = map[string]any{"clientId": client, "objectId": user, "subscriptionId": s.subscription, "tenantId": tenant}
			case "azure-native:containerregistry:listRegistryCredentials":
				answer, err = credentials(all.get(group + fmt.Sprintf("Microsoft.ContainerRegistry/registries/%v", args["registryName"])))
			case "azure-native:storage:listStorageAccountKeys":
				answer, err = accountKeys(all.get(group + fmt.Sprintf("Microsoft.Storage/storageAccounts/%v", args["accountName"])))
			case userCall:
				answer, err = kubeconfig(all.get(group + fmt.Sprintf("Microsoft.ContainerService/managedClusters/%v", args["resourceName"])))
			default:
				err = fmt.Errorf("unrecognized function: %s", r.GetTok())
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	result, err := structpb.NewStruct(answer)
	return &pulumirpc.InvokeResponse{Return: result}, err
}

func credentials(t *thing) (map[string]any, error) {
	if t == nil {
		return nil, failure(404, "ResourceNotFound", "The registry was not found.")
	}
	if enabled, _ := t.Inputs["adminUserEnabled"].(bool); !enabled {
		return nil, failure(400, "AdminUserDisabled", "The admin user is not enabled for the registry.")
	}
	return map[string]any{"username": t.Inputs["registryName"], "passwords": []any{
		map[string]any{"name": "password", "value": t.Keys[0]}, map[string]any{"name": "password2", "value": t.Keys[1]},
	}}, nil
}

func accountKeys(t *thing) (map[string]any, error) {
	if t == nil {
		return nil, failure(404, "ResourceNotFound", "The storage account was not found.")
	}
	return map[string]any{"keys": []any{
		map[string]any{"keyName": "key1", "permissions": "FULL", "value": t.Keys[0]}, map[string]any{"keyName": "key2", "permissions": "FULL", "value": t.Keys[1]},
	}}, nil
}
