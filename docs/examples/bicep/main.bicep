// An environment of the ModelOps suite on Azure: a registry and a storage account with one
// container. environment.py makes the environment file from the outputs. There is no
// secret in them, for a deployment's outputs can be read by whoever may read it.

@description('The environment\'s name, and the name of its file.')
param environment string = 'dev'

param location string = resourceGroup().location

@description('The object ID of who uses the environment: az ad signed-in-user show --query id')
param principalId string

@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

var suffix = take(uniqueString(resourceGroup().id), 8)
var letters = replace(environment, '-', '')

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' = {
  name: 'modelops${take(letters, 20)}acr${suffix}'
  location: location
  sku: { name: 'Basic' }
  properties: { adminUserEnabled: false }
}

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'modelops${take(letters, 6)}${suffix}'
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'bundle-blobs'
  properties: { publicAccess: 'None' }
}

var acrPush = '8311e382-0749-4cb8-b61a-304f252e45ec'
var storageBlobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource push 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, principalId, acrPush)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPush)
  }
}

resource use 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, storageBlobDataContributor)
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataContributor)
  }
}

output environment string = environment
output loginServer string = registry.properties.loginServer
output blobEndpoint string = account.properties.primaryEndpoints.blob
output container string = container.name
