"""Prints "PASSED FAILED" for a meson test log: one a test program, or one a TAP line where the program speaks TAP. The second argument is
what `meson test` ended with: where that is a failure there is one, whatever the log says, which may be cut short."""

import json
import re
import sys


def main():
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            lines = entry.get("stdout", "").splitlines()
            ok = sum(1 for text in lines if re.match(r"ok\b", text))
            not_ok = sum(1 for text in lines if re.match(r"not ok\b", text))
            good = entry["result"] in ("OK", "EXPECTEDFAIL")
            if entry["result"] == "SKIP":
                continue
            if ok + not_ok == 0:
                ok, not_ok = (1, 0) if good else (0, 1)
            elif not good and not_ok == 0:
                not_ok = 1  # every line was good, and yet the program crashed or leaked
            passed += ok
            failed += not_ok
    print(passed, failed or int(sys.argv[2] != "0"))


main()
