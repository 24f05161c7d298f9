"""Whether a gated model may be read, asked before anything is downloaded."""

import logging

from weekahead.hub.client import HubError, hub_api
from weekahead.redaction import without_secrets

log = logging.getLogger(__name__)

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def check_may_read(name: str, revision: str | None) -> None:
    """Ask the Hub whether this account may read the weights of a model.

    The config of a gated model may be in the cache, and the refusal would then come after all rows
    have been measured. Nothing is asked for weights that are in the cache, and a Hub that does not
    answer is no reason to stop here. Raises HubError for a gated model without access.
    """
    from httpx2 import HTTPError
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled

    if _is_cached(name, revision) or constants.is_offline_mode():
        return
    try:
        hub_api().auth_check(name)
    except GatedRepoError:
        page = f"{without_secrets(constants.ENDPOINT)}/{name}"
        if get_token() is None:
            raise HubError(
                f"{name} is gated, and there is no token: accept its licence at {page}, then "
                "`.venv/bin/hf auth login`, or HF_TOKEN=... in .env"
            ) from None
        raise HubError(
            f"{name} is gated, and the account of this token has no access: accept its licence at "
            f"{page}. The token itself needs the right to read gated repositories"
        ) from None
    except (HfHubHTTPError, HTTPError, OfflineModeIsEnabled, ValueError) as error:
        # What follows has a message for each of them, or finds the model in the cache.
        log.debug("the Hub does not tell whether %s may be read: %s", name, error)


def _is_cached(name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(name, file, revision=revision) for file in _WEIGHTS]
    except HFValidationError:
        return False
    return any(isinstance(path, str) for path in found)
