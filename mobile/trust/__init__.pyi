from .first_use import accept as accept, check_first_use as check_first_use
from .keys import (
    make_keys as make_keys,
    read_public_key as read_public_key,
    read_secret_key as read_secret_key,
)
from .signatures import Signed as Signed, sign_file as sign_file, verify as verify
