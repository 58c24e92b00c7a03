package contracts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelops-suite/modelops-go/contracts"
)

func TestParseAzureAccount(t *testing.T) {
	for text, want := range map[string]contracts.AzureAccount{
		"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=QUFBQQ==;EndpointSuffix=core.windows.net": {
			Endpoint: "https://acct.blob.core.windows.net", Name: "acct", Key: "QUFBQQ=="},
		"accountname=acct;ACCOUNTKEY=QUFBQQ==;endpointsuffix=core.chinacloudapi.cn;": {
			Endpoint: "https://acct.blob.core.chinacloudapi.cn", Name: "acct", Key: "QUFBQQ=="},
		"BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=?sv=2024-01-01&sig=a%3D": {
			Endpoint: "https://acct.blob.core.windows.net", SAS: "sv=2024-01-01&sig=a%3D"},
		"AccountName=acct;SharedAccessSignature=sv=2024-01-01&sig=a%3D": {
			Endpoint: "https://acct.blob.core.windows.net", Name: "acct", SAS: "sv=2024-01-01&sig=a%3D"},
		"UseDevelopmentStorage=true": *contracts.EmulatorAccount("http://127.0.0.1:10000/devstoreaccount1/"),
	} {
		got, err := contracts.ParseAzureAccount(contracts.Secret(text), false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for text, says := range map[string]string{
		"DefaultEndpointsProtocol=http;AccountName=acct;AccountKey=Q0FOQVJZ":                   "not encrypted",
		"BlobEndpoint=https://acct.blob.core.windows.net;AccountKey=Q0FOQVJZ":                  "no AccountName",
		"AccountName=acct;AccountKey=Q0FOQVJZ;BlobEndpoint=https://evil.example.com/?Q0FOQVJZ": "query",
		"Q0FOQVJZ": "KEY=VALUE",
	} {
		_, err := contracts.ParseAzureAccount(contracts.Secret(text), false)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "Q0FOQVJZ") {
			t.Errorf("%s: %v, want an error that says %q", text, err, says)
		}
	}
}
