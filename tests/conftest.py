"""The environment of every test: no token, cache or endpoint of whoever runs them, no telemetry, and no way to the real Hub.

Set before anything imports huggingface_hub, which reads its environment once.
"""

import os
import tempfile

for _name in [
    name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_", "LINEAGE_STORE", "LINEAGE_SKETCH"))
]:
    del os.environ[_name]
os.environ["HF_ENDPOINT"] = (
    "http://127.0.0.1:9"  # nothing listens there: a test that forgets its fake Hub fails at once
)
_home = tempfile.TemporaryDirectory(prefix="lineage-tests-hf-")  # removed when the tests end
os.environ["HF_HOME"] = _home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
# one thread a process, also for the processes that tests start: `make test` runs as many processes as there are cores, and the many
# small operations of the tests take three times the processor where torch's threads wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")
