# An environment of the ModelOps suite on Azure: a registry, a storage account with one
# container, and the environment file that says where they are.
#
#   terraform init
#   terraform apply -var subscription_id=… -var suffix=…
#   mops env validate dev.yaml --connect && mops env add dev.yaml

terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.9"
    }
    local = {
      source  = "hashicorp/local"
      version = "~> 2.5"
    }
  }
}

variable "subscription_id" {
  type = string
}

variable "environment" {
  description = "The environment's name, and the name of its file."
  type        = string
  default     = "dev"
}

variable "location" {
  type    = string
  default = "eastus2"
}

variable "suffix" {
  description = "Makes the names of the registry and the storage account yours in all of Azure: lower-case letters and digits."
  type        = string
}

locals {
  letters = replace(var.environment, "-", "")
}

variable "keys" {
  description = "Put a password and the account's key into the file. Without them everybody signs in as who they are."
  type        = bool
  default     = false
}

provider "azurerm" {
  features {}
  subscription_id     = var.subscription_id
  storage_use_azuread = !var.keys
}

data "azurerm_client_config" "current" {}

resource "azurerm_resource_group" "modelops" {
  name     = "modelops-${var.environment}"
  location = var.location
}

resource "azurerm_container_registry" "modelops" {
  name                = "modelops${substr(local.letters, 0, 20)}acr${var.suffix}"
  resource_group_name = azurerm_resource_group.modelops.name
  location            = azurerm_resource_group.modelops.location
  sku                 = "Basic"
  admin_enabled       = var.keys
}

resource "azurerm_storage_account" "modelops" {
  name                            = "modelops${substr(local.letters, 0, 6)}${var.suffix}"
  resource_group_name             = azurerm_resource_group.modelops.name
  location                        = azurerm_resource_group.modelops.location
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = var.keys
}

resource "azurerm_storage_container" "bundles" {
  name                  = "bundle-blobs"
  storage_account_id    = azurerm_storage_account.modelops.id
  container_access_type = "private"
}

# Without keys, whoever uses the environment needs these two roles.
resource "azurerm_role_assignment" "push" {
  count                = var.keys ? 0 : 1
  scope                = azurerm_container_registry.modelops.id
  role_definition_name = "AcrPush"
  principal_id         = data.azurerm_client_config.current.object_id
}

resource "azurerm_role_assignment" "blobs" {
  count                = var.keys ? 0 : 1
  scope                = azurerm_storage_account.modelops.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = data.azurerm_client_config.current.object_id
}

# null is the same as a key that is not there.
resource "local_sensitive_file" "environment" {
  filename        = "${path.root}/${var.environment}.yaml"
  file_permission = "0600"
  content = yamlencode({
    environment = var.environment
    registry = {
      provider      = "acr"
      login_server  = azurerm_container_registry.modelops.login_server
      requires_auth = true
      username      = var.keys ? azurerm_container_registry.modelops.admin_username : null
      password      = var.keys ? azurerm_container_registry.modelops.admin_password : null
    }
    storage = {
      provider          = "azure"
      container         = azurerm_storage_container.bundles.name
      endpoint          = var.keys ? null : azurerm_storage_account.modelops.primary_blob_endpoint
      connection_string = var.keys ? azurerm_storage_account.modelops.primary_connection_string : null
    }
    version = "1.1"
  })
}
