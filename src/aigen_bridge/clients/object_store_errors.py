"""The errors of an object store in words: what happened, and what an operator can do."""

import errno
import re

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from aigen_bridge.domain.errors import ImageStoreAwayError

NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
"""In the text of an error: S3's, Google's and Azure's code for a bucket or a container that does not exist."""
_CAUSE = re.compile(r"<Code>(\w{1,50})|InvalidCertificate\(\s*(\w+)|(dns error|TimedOut)|kind: (\w+)")
"""In the text of an error: what S3 says, and what the operating system or the TLS library says."""
_OS_ERROR = re.compile(r"os error (\d+)|\[Errno (\d+)\]")
"""In the reason: the number of an error of the operating system, in Rust's words or in Python's."""
_OS_ADVICE = {
    errno.ENOSPC: "Free some space on the disk of the folder.",
    errno.ENOTDIR: "AIGEN_IMAGE_STORE__URL has to name a folder, and this is a file.",
} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS),
    "Let the user that runs the bridge read and write in the folder (with systemd: ReadWritePaths=).",
)


def reason(error: Exception) -> str:
    """Returns what happened and its cause, without the path and without the error as Rust shows it for debugging."""
    line, _, debug = str(error).partition("\n\nDebug source:")
    what = line.partition("\n")[0].rpartition(" - ")[2].partition(": <?xml")[0][:300]
    causes = ["".join(found) for found in _CAUSE.findall(debug)]
    return f"{type(error).__name__}: {what}{f' ({causes[-1]})' if causes else ''}"


def advise(error: ImageStoreAwayError) -> str:
    """Returns what an operator can do about a store that is away."""
    found = _OS_ERROR.search(error.reason)
    if found and (advice := _OS_ADVICE.get(int(found[1] or found[2]))):
        return advice
    match error.__cause__:
        case PermissionDeniedError():
            return (
                "The store refuses the key (403): check AIGEN_IMAGE_STORE__ACCESS_KEY_ID and __SECRET_ACCESS_KEY, the "
                "clock of this machine, and that the key may list the bucket, and get, put and delete its objects."
            )
        case UnauthenticatedError():
            return "The store does not know the key (401): check the key, and that it has not expired."
        case FileNotFoundError():
            return "Create the bucket or the folder, or correct AIGEN_IMAGE_STORE__URL. If it is a mount, mount it."
        case TimeoutError():
            return (
                "Check that the store runs and can be reached from here: address, proxy, firewall. A slow store needs "
                "a longer AIGEN_IMAGE_STORE__TIMEOUT."
            )
    return (
        "Check AIGEN_IMAGE_STORE__ENDPOINT, __REGION and the key, that the store runs and can be reached from here, "
        "and that its certificate is trusted."
    )
