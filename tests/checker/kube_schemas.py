"""Unpacks the schemas of kubernetes-validate as kubeconform reads them: kube_schemas.py <wheel> <folder>.

A schema there calls itself and the shared definitions by web addresses; without the first and with a file's name for
the second, nothing has to be fetched.
"""

import json
import os
import re
import sys
import zipfile

OLDEST = (1, 33)
MEMBER = re.compile(r"kubernetes_validate/kubernetes-json-schema/v(\d+)\.(\d+)\.\d+-local-strict/(.+\.json)")


def main(wheel: str, folder: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            found = MEMBER.fullmatch(name)
            if not found or (int(found[1]), int(found[2])) < OLDEST:
                continue
            schema = json.loads(archive.read(name))
            schema.pop("$id", None)
            text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
            path = os.path.join(folder, f"v{found[1]}.{found[2]}.0", found[3])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)


main(*sys.argv[1:])
