"""Makes a container in the emulator of Azure storage, unless it is there.

python3 container.py ENDPOINT NAME, where ENDPOINT ends with the account's name.
"""

import base64
import hashlib
import hmac
import sys
import urllib.error
import urllib.request
from email.utils import formatdate

# Of the emulator's own account, the same everywhere and no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-08-06"


def make(endpoint, name):
    account = endpoint.rsplit("/", 1)[1]
    date = formatdate(usegmt=True)
    # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key: the
    # method, eleven empty headers, two of Azure's, and what is asked for. In the emulator
    # the account is part of the path.
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{account}/{account}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    request = urllib.request.Request(f"{endpoint}/{name}?restype=container", method="PUT", headers={
        "x-ms-date": date, "x-ms-version": VERSION, "Authorization": f"SharedKey {account}:{signature}"})
    try:
        urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as problem:
        if problem.code != 409:  # it is there
            raise


make(*sys.argv[1:])
