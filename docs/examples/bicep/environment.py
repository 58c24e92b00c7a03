"""Make an environment file from the outputs of a deployment of main.bicep.

    az deployment group show --resource-group GROUP --name modelops --output json | python3 environment.py dev.yaml

Only the standard library is used. JSON is YAML, so the file is written as JSON.
"""

import json
import os
import sys
import tempfile


def document(deployment):
    """The environment file's content, from what "az deployment group show" says."""
    state = deployment["properties"]["provisioningState"]
    if state != "Succeeded":
        sys.exit(f"the deployment is {state}: nothing was written")
    outputs = {name: output["value"] for name, output in deployment["properties"]["outputs"].items()}
    return {
        "environment": outputs["environment"],
        "registry": {"provider": "acr", "login_server": outputs["loginServer"].lower(), "requires_auth": True},
        # An endpoint and no connection string: whoever uses it signs in as who they are.
        "storage": {"provider": "azure", "container": outputs["container"], "endpoint": outputs["blobEndpoint"]},
        "version": "1.1",
    }


def write(path, text):
    """Put text into a file that is 0600 from its first byte, and there whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)))  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: environment.py FILE < deployment.json")
    write(sys.argv[1], json.dumps(document(json.load(sys.stdin)), indent=2) + "\n")
