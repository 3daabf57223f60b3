"""What the servers of the tests have in common: by their own decision they drop or refuse some
messages of each id, and they count what they did.

DROP=5 in the environment: each fifth message to an id is answered as if it had been delivered, and
is not. REFUSE=10: each tenth message that is posted is answered 503.
"""

import os
from collections import Counter

DROP = int(os.environ.get("DROP", "0"))
REFUSE = int(os.environ.get("REFUSE", "0"))

counts = {"posted": 0, "refused": 0, "dropped": 0, "delivered": 0}
_of_id = Counter()


def decide(id):
    """What becomes of a message to `id`: "refused", "dropped" or "taken"."""
    counts["posted"] += 1
    if REFUSE and counts["posted"] % REFUSE == 0:
        counts["refused"] += 1
        return "refused"
    _of_id[id] += 1
    if DROP and _of_id[id] % DROP == 0:
        counts["dropped"] += 1
        return "dropped"
    return "taken"
