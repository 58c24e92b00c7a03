package contracts

import (
	"cmp"
	"strings"
)

// AzureAccount is what a connection string says: where the blobs of an account are, and
// a key or a signature that opens them.
type AzureAccount struct {
	Endpoint string // URL of the account's blobs, without a slash at its end
	Name     string // "" when only the endpoint is known
	Key      Secret // base64; needs Name
	SAS      Secret // a query without "?", used when there is no key
}

// The account that the emulator Azurite has unless told otherwise. Its key is public.
const (
	emulatorEndpoint = "http://127.0.0.1:10000/" + emulatorAccount
	emulatorAccount  = "devstoreaccount1"
	emulatorKey      = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// EmulatorAccount is the account of the emulator at endpoint, "" for its usual address.
func EmulatorAccount(endpoint string) *AzureAccount {
	return &AzureAccount{Endpoint: strings.TrimRight(cmp.Or(endpoint, emulatorEndpoint), "/"), Name: emulatorAccount, Key: emulatorKey}
}

// ParseAzureAccount reads a connection string by the rules of environment files;
// emulator allows what provider azurite does. Errors are of [CodeInvalidEnvironment] and
// repeat nothing of it but the names of settings.
func ParseAzureAccount(connection Secret, emulator bool) (*AzureAccount, error) {
	s, problem, hint := connectionSettings(connection.Reveal(), emulator)
	if problem == "" && s["accountname"] == "" && s["sharedaccesssignature"] == "" && s["usedevelopmentstorage"] == "" {
		problem, hint = "has an AccountKey and no AccountName", "a key is used with its account's name"
	}
	if problem != "" {
		return nil, &Error{Code: CodeInvalidEnvironment, Stage: StageEnvironment, Message: "the connection string of the storage " + problem, Hint: hint}
	}
	if s["usedevelopmentstorage"] != "" {
		return EmulatorAccount(""), nil
	}
	a := &AzureAccount{Name: s["accountname"], Key: Secret(s["accountkey"]), SAS: Secret(strings.TrimPrefix(s["sharedaccesssignature"], "?"))}
	if a.Name == "" {
		a.Key = ""
	}
	a.Endpoint = strings.TrimRight(s["blobendpoint"], "/")
	if a.Endpoint == "" {
		a.Endpoint = cmp.Or(s["defaultendpointsprotocol"], "https") + "://" + a.Name + ".blob." + cmp.Or(s["endpointsuffix"], "core.windows.net")
	}
	return a, nil
}
