"""Whether the Hugging Face hub can be reached: found out once and soon, before anybody retries.

The libraries that download retry a connection that fails for half a minute and more, file by file.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from trivium.errors import UserError


@cache
def locate(name: str, file: str, kind: Literal["model", "dataset"]) -> str:
    """``name`` where the hub answers, else the folder of its cached copy.

    A hub that answers, with a refusal too, gives back ``name``: whoever downloads says more. So
    does HF_HUB_OFFLINE, with which the libraries look into their cache alone.

    Args:
        name: owner/name.
        file: what to ask for, such as config.json.
        kind: what the repository holds.

    Raises:
        UserError: the hub can't be reached within HF_HUB_ETAG_TIMEOUT (10 seconds), and there is no
            copy of ``file`` in the cache.
    """
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_url,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError

    if constants.HF_HUB_OFFLINE:
        return name
    try:
        get_hf_file_metadata(hf_hub_url(name, file, repo_type=kind))
    except (HfHubHTTPError, FileMetadataError, HFValidationError):
        return name
    except Exception as error:  # of whichever HTTP library the hub's own one is made with
        cached = try_to_load_from_cache(name, file, repo_type=kind)
        if isinstance(cached, str):
            return str(Path(cached).parent)
        raise UserError(
            f"{name}: nothing of that name is here, and the hub at {constants.ENDPOINT} can't be "
            f"reached ({type(error).__name__}: {' '.join(str(error).split())}); give a folder, or "
            f"mend the network and try again"
        ) from error
    return name
