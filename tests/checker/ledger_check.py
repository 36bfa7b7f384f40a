#!/usr/bin/env python3
"""Counts, with git and nothing of tars, whether a ledger and its watched branch keep the promises.

In:  a bare repository, the allow-list of SSH keys or the public OpenPGP keys (or both), the limits, and (for a
     test that posted alerts) a file with one accepted alert per line as JSON: {"process", "inbox", "fingerprint",
     "policy", "target", "cause"}.
Out: one line per invariant with what was counted; exit 0 when all hold, 1 when one does not, 2 when it could
     not look.
Never: imports, runs or trusts tars. It reads commits, trees and the inbox files; it writes nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path

WINDOW = timedelta(hours=1)
OVER = {"Verified", "NotRecovered", "Worse", "Unknown", "Reverted", "Expired", "Closed", "Observed"}
NEXT = {
    None: {"Proposed", "Observed"},
    "Proposed": {"Proposed", "MergeReserved", "Merged", "Closed"},
    "MergeReserved": {"Proposed", "Merged", "Closed"},
    "Merged": {"Synced", "Unknown"},
    "Synced": {"Verified", "NotRecovered", "Worse", "Unknown"},
    "Verified": {"Expired", "Reverted"},
    "NotRecovered": {"Expired", "Reverted"},
    "Worse": {"Expired", "Reverted"},
    "Unknown": {"Expired", "Reverted"},
}
SHOWN_MAX = 10
SSH = "-----BEGIN SSH SIGNATURE-----"
PGP = "-----BEGIN PGP SIGNATURE-----"


class Unreadable(Exception):
    """The repository could not be looked at."""


def git(repo, *args, check=True, feed=None):
    command = ["git", "-C", str(repo), *args]
    done = subprocess.run(command, input=feed, capture_output=True, check=False, timeout=300)
    if check and done.returncode != 0:
        raise Unreadable(f"git {' '.join(args[:2])}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def commits(repo, rev):
    """Commits of the first-parent line of `rev`, oldest first."""
    out = git(repo, "log", "--first-parent", "--reverse", "--format=%H%x01%P%x01%T%x01%B%x00", rev, "--")
    found = []
    for row in out.split("\0"):
        if row.strip():
            oid, parents, tree, message = row.lstrip("\n").split("\x01", 3)
            found.append({"oid": oid, "parents": parents.split(), "tree": tree, "said": trailers(message)})
    return found


def trailers(message):
    """The last paragraph, when every line of it is `Tars-Key: value`."""
    last = message.strip().split("\n\n")[-1].split("\n")
    pairs = [line.split(": ", 1) for line in last]
    if not all(len(pair) == 2 and pair[0].startswith("Tars-") for pair in pairs):
        return {}
    said = dict(pairs)
    return said if len(said) == len(pairs) else {}


def placed(record):
    """Where the record says that its commit waits: branch, base, head and tree; empty when it does not say."""
    change = re.search(r"^  change:\n((?:    .*\n)+)", record, re.M)
    rows = re.findall(r"^    (branch|base|head|tree): (\S+)$", change.group(1), re.M) if change else []
    return {key: value.strip("'\"") for key, value in rows}


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Check:
    def __init__(self, args):
        self.args = args
        self.failed = 0
        repo = args.repo
        self.main = commits(repo, args.main)
        exists = git(repo, "rev-parse", "--verify", "--quiet", f"refs/heads/{args.ledger}", check=False)
        self.ledger = commits(repo, f"refs/heads/{args.ledger}") if exists.strip() else []
        self.entries = [it for it in self.ledger if it["said"].get("Tars-Id")]

    def report(self, name, counted, wrong):
        print(f"{'ok  ' if not wrong else 'FAIL'} {name}: {counted}, {len(wrong)} wrong")
        for text in wrong[:SHOWN_MAX]:
            print(f"       {text}")
        self.failed += bool(wrong)

    def actions(self):
        """Every action's entries, in ledger order."""
        grouped = defaultdict(list)
        for entry in self.entries:
            grouped[entry["said"]["Tars-Id"]].append(entry)
        return grouped

    def chain(self):
        wrong, ids = [], set()
        before = None
        for index, entry in enumerate(self.ledger):
            said, at = entry["said"], f"entry {index} ({entry['oid'][:9]})"
            missing = {"Tars-Seq", "Tars-Entry", "Tars-Kind", "Tars-Repo", "Tars-Time"} - said.keys()
            if missing:
                wrong.append(f"{at} lacks {', '.join(sorted(missing))}")
                continue
            if said["Tars-Seq"] != str(index):
                wrong.append(f"{at} calls itself {said['Tars-Seq']}")
            if entry["parents"] != ([self.ledger[index - 1]["oid"]] if index else []):
                wrong.append(f"{at} has the parents {entry['parents']}")
            if said["Tars-Entry"] in ids:
                wrong.append(f"{at} repeats the id {said['Tars-Entry']}")
            ids.add(said["Tars-Entry"])
            if before and said.get("Tars-Prev") != before["Tars-Entry"]:
                wrong.append(f"{at} names {said.get('Tars-Prev')} as the one before")
            if before and when(said["Tars-Time"]) < when(before["Tars-Time"]):
                wrong.append(f"{at} is older than the one before")
            if before and said["Tars-Repo"] != before["Tars-Repo"]:
                wrong.append(f"{at} belongs to {said['Tars-Repo']}")
            before = said
        writers = len({it["said"].get("Tars-Instance") for it in self.ledger})
        self.report("chain", f"{len(self.ledger)} entries of {writers} instances", wrong)

    def signatures(self):
        ours = self.ledger + [it for it in self.main if it["said"].get("Tars-Id")]
        with tempfile.TemporaryDirectory() as home:
            wrong, kinds = self.unsigned([it["oid"] for it in ours], home)
        parts = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
        self.report("signatures", f"{len(ours)} commits verified by git ({parts})", wrong)

    def unsigned(self, oids, home):
        """What git refuses, believing the keys that were given and no others; `home` is an empty folder."""
        env = {**os.environ, "GNUPGHOME": home}
        signers = self.args.allowed_signers or os.devnull
        command = ["git", "-C", str(self.args.repo), "-c", f"gpg.ssh.allowedSignersFile={Path(signers).resolve()}"]
        if self.args.openpgp_keys:
            imported = ["gpg", "--batch", "--quiet", "--import", self.args.openpgp_keys]
            if subprocess.run(imported, env=env, capture_output=True, check=False, timeout=60).returncode:
                raise Unreadable("gpg does not take the keys")

        def verified(part, seconds):
            asked = [*command, "verify-commit", *part]
            return subprocess.run(asked, env=env, capture_output=True, check=False, timeout=seconds).returncode == 0

        wrong, kinds = [], Counter()
        for start in range(0, len(oids), 200):
            part = oids[start : start + 200]
            raw = git(self.args.repo, "cat-file", "--batch", feed="".join(f"{oid}\n" for oid in part).encode())
            kinds.update({name: raw.count(mark) for name, mark in (("SSH", SSH), ("OpenPGP", PGP)) if mark in raw})
            if not verified(part, 300):
                wrong += [f"git verify-commit refuses {oid[:9]}" for oid in part if not verified([oid], 60)]
        return wrong, kinds

    def transitions(self):
        wrong = []
        for name, entries in self.actions().items():
            state = None
            for entry in entries:
                kind = entry["said"]["Tars-Kind"]
                if kind not in NEXT.get(state, set()):
                    wrong.append(f"{name} goes from {state} to {kind} in entry {entry['said'].get('Tars-Seq')}")
                state = kind
            if len({(it["said"].get("Tars-Policy"), it["said"].get("Tars-Target")) for it in entries}) > 1:
                wrong.append(f"{name} changes its policy or target")
        self.report("transitions", f"{len(self.entries)} entries of {len(self.actions())} actions", wrong)

    def budgets(self):
        """A slot is taken by the reservation, and by a merge that never had one."""
        slots = [it["said"] for it in self.entries if it["said"]["Tars-Kind"] == "MergeReserved"]
        reserved = {it["Tars-Id"] for it in slots}
        slots += [
            it["said"]
            for it in self.entries
            if it["said"]["Tars-Kind"] == "Merged" and it["said"]["Tars-Id"] not in reserved
        ]
        wrong, most = [], Counter()
        groups = defaultdict(list)
        for slot in slots:
            groups[slot["Tars-Policy"]].append(when(slot["Tars-Time"]))
            groups[None].append(when(slot["Tars-Time"]))
        for policy, times in groups.items():
            limit = self.args.per_policy if policy else self.args.global_limit
            times.sort()
            first = 0
            for last, time in enumerate(times):
                while time - times[first] >= WINDOW:
                    first += 1
                used = last - first + 1
                most[policy is None] = max(most[policy is None], used)
                if used > limit:
                    wrong.append(f"{policy or 'all policies'}: {used} executions in the hour to {time}, at most {limit}")
        counted = (
            f"{len(slots)} executions, most in an hour {most[True]}/{self.args.global_limit} over all and "
            f"{most[False]}/{self.args.per_policy} of one policy"
        )
        self.report("budgets", counted, wrong)

    def cooldowns(self):
        last, wrong, seen = {}, [], 0
        for entry in self.entries:
            said = entry["said"]
            if said["Tars-Kind"] != "MergeReserved":
                continue
            seen += 1
            target, time = said["Tars-Target"], when(said["Tars-Time"])
            before = last.get(target)
            cool = timedelta(seconds=self.args.cooldown)
            if before and before[0] != said["Tars-Id"] and time - before[1] < cool:
                wrong.append(f"{said['Tars-Id']} runs on {target} {time - before[1]} after {before[0]}")
            last[target] = (said["Tars-Id"], time)
        self.report("cooldowns", f"{seen} reservations on {len(last)} targets", wrong)

    def duplicates(self):
        wrong, holder, causes = [], {}, defaultdict(list)
        most = 0
        states = {}
        for entry in self.entries:
            said = entry["said"]
            name, target = said["Tars-Id"], said["Tars-Target"]
            if name not in states:
                other = holder.get(target)
                if other and states[other] not in OVER:
                    wrong.append(f"{name} is opened for {target} while {other} is {states[other]}")
                holder[target] = name
                causes[said["Tars-Fingerprint"]].append(name)
            states[name] = said["Tars-Kind"]
            waiting = sum(it in ("Proposed", "MergeReserved") for it in states.values())
            most = max(most, waiting)
        if most > self.args.open_limit:
            wrong.append(f"{most} proposals were open at once, at most {self.args.open_limit}")
        wrong += [f"{', '.join(names)} answer one cause" for names in causes.values() if len(names) > 1]
        counted = f"{len(causes)} causes, {len(holder)} targets, at most {most} proposals open at once"
        self.report("duplicates", counted, wrong)
        return states

    def folders(self, states):
        """`open/` and the proposal branches hold exactly what is open."""
        wrong = []
        open_now = {name for name, state in states.items() if state not in OVER}
        head = f"refs/heads/{self.args.ledger}"
        listed = git(self.args.repo, "ls-tree", "-r", "--name-only", head, "--", "open/") if self.ledger else ""
        held = {}
        for path in listed.split():
            record = git(self.args.repo, "show", f"{head}:{path}")
            found = re.search(r"^metadata:\n  name: (\S+)$", record, re.M)
            held[found.group(1) if found else path] = placed(record)
        wrong += [f"{name} is open but not in open/" for name in sorted(open_now - held.keys())]
        wrong += [f"{name} is in open/ but not open" for name in sorted(held.keys() - open_now)]
        waiting = {name: held.get(name, {}) for name in open_now if states[name] in ("Proposed", "MergeReserved")}
        branches, more = self.branches(waiting)
        self.report("open", f"{len(held)} files, {branches} branches", wrong + more)

    def branches(self, waiting):
        """Every branch carries the commits of those that wait on it and no others: one, or a batch of several."""
        wrong, lines = [], defaultdict(dict)
        for name, place in sorted(waiting.items()):
            if {"branch", "base", "head", "tree"} - place.keys():
                wrong.append(f"{name} waits and does not say where")
            elif place["base"] in lines[place["branch"]]:
                wrong.append(f"{name} stands on the same commit as {lines[place['branch']][place['base']][0]}")
            else:
                lines[place["branch"]][place["base"]] = (name, place)
        listing = git(self.args.repo, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads/tars/")
        tips = dict(row.split(" ") for row in listing.splitlines())
        tips.pop(self.args.ledger, None)
        wrong += [f"{branch} has no open proposal" for branch in sorted(tips.keys() - lines.keys())]
        for branch, line in sorted(lines.items()):
            names = ", ".join(name for name, _ in line.values())
            if branch not in tips:
                wrong.append(f"{names} waits without a branch")
                continue
            heads = {place["head"] for _, place in line.values()}
            lowest = [base for base in line if base not in heads]
            at = lowest[0] if len(lowest) == 1 else None
            count = 0
            while at in line and count <= len(line):
                name, place = line[at]
                said = git(self.args.repo, "log", "-1", "--format=%P %T", place["head"], check=False).split()
                if said != [at, place["tree"]]:
                    wrong.append(f"{name} is not the commit on {branch} that was recorded")
                at, count = place["head"], count + 1
            if count != len(line):
                wrong.append(f"{names} on {branch} do not stand on one another")
            elif at != tips[branch]:
                wrong.append(f"{branch} carries a commit above {name} that nobody proposed")
        return len(tips), wrong

    def landed(self, wrong):
        """Our commits on the watched branch: on its line, or brought in by a merge that a person made."""
        for index, commit in enumerate(self.main):
            if commit["said"].get("Tars-Id"):
                yield commit
            elif index and not self.args.people:
                wrong.append(f"{commit['oid'][:9]} on {self.args.main} is nobody's")
            elif len(commit["parents"]) > 1:
                span = f"{commit['parents'][0]}..{commit['parents'][1]}"
                yield from (it for it in commits(self.args.repo, span) if it["said"].get("Tars-Id"))

    def merges(self):
        wrong, actions, merged = [], self.actions(), Counter()
        for commit in self.landed(wrong):
            name = commit["said"]["Tars-Id"]
            merged[name] += 1
            entries = actions.get(name, [])
            kinds = [it["said"]["Tars-Kind"] for it in entries]
            if "MergeReserved" not in kinds and not (self.args.people and "Proposed" in kinds):
                wrong.append(f"{name} was merged as {commit['oid'][:9]} without a reservation")
                continue
            # A person merges without a reservation, and tars notices later.
            reserved = "MergeReserved" in kinds
            standing = len(kinds) - 1 - kinds[::-1].index("MergeReserved" if reserved else "Proposed")
            proposals = [it["said"].get("Tars-Tree") for it in entries[: standing + 1] if it["said"]["Tars-Kind"] == "Proposed"]
            if not proposals or commit["tree"] != proposals[-1]:
                wrong.append(f"{name} was merged with the tree {commit['tree'][:9]}, proposed was {proposals[-1:]}")
            after = kinds[standing + 1 : standing + 2]
            if after != ["Merged"] and (reserved or after):
                wrong.append(f"{name} is on {self.args.main}, but its reservation is not followed by Merged")
        for name, count in merged.items():
            if count > 1:
                wrong.append(f"{name} was merged {count} times")
        recorded = {name for name, entries in actions.items() if any(it["said"]["Tars-Kind"] == "Merged" for it in entries)}
        wrong += [f"{name} is recorded as merged and is not on {self.args.main}" for name in sorted(recorded - merged.keys())]
        kinds = Counter(it["said"]["Tars-Kind"] for it in self.entries)
        took = {it["said"]["Tars-Id"] for it in self.entries if it["said"]["Tars-Kind"] == "MergeReserved"}
        spare = kinds["MergeReserved"] - len(took & merged.keys())
        counted = f"{len(merged)} merges, {kinds['MergeReserved']} reservations ({spare} given back or waiting)"
        self.report("merges", counted, wrong)
        if kinds["MergeReserved"] and len(merged) < self.args.merges_min:
            self.report("liveness", f"{len(merged)} merges", [f"expected at least {self.args.merges_min}"])

    def causes(self):
        """Which (policy, target, cause) the ledger ever opened an action for."""
        firsts, seen = [], set()
        for entry in self.entries:
            if entry["said"]["Tars-Id"] not in seen:
                seen.add(entry["said"]["Tars-Id"])
                firsts.append(entry)
        known = set()
        for entry in firsts:
            changed = git(self.args.repo, "diff-tree", "-r", "--root", "--no-commit-id", "--name-only", entry["oid"])
            for path in changed.split():
                text = git(self.args.repo, "show", f"{entry['oid']}:{path}", check=False)
                found = re.search(r"^    key: (webhook .*)$", text, re.M)
                if found:
                    key = found.group(1).strip("'\"")
                    known.add((entry["said"]["Tars-Policy"], entry["said"]["Tars-Target"], key))
        return known

    def accepted(self, states):
        wrong, tally, unique = [], Counter(), set()
        known = self.causes()
        held = {it["said"]["Tars-Target"] for it in self.entries if states[it["said"]["Tars-Id"]] not in OVER}
        hot = {it["said"]["Tars-Target"] for it in self.entries if it["said"]["Tars-Kind"] == "MergeReserved"}
        for line in Path(self.args.accepted).read_text().splitlines():
            alert = json.loads(line)
            cause = (alert["policy"], alert["target"], alert["cause"])
            unique.add(cause)
            inbox = Path(alert["inbox"]) / f"{alert['fingerprint']}.json"
            if cause in known:
                tally["in the ledger"] += 1
            elif not inbox.is_file():
                wrong.append(f"{alert['process']} accepted {alert['fingerprint']} and has it no more")
            elif alert["target"] in held:
                tally["waiting: target has an open action"] += 1
            elif alert["target"] in hot:
                tally["waiting: cooldown"] += 1
            else:
                wrong.append(f"{alert['process']} keeps {alert['fingerprint']} for {alert['target']}, nothing says why")
        parts = ", ".join(f"{count} {name}" for name, count in sorted(tally.items()))
        self.report("accepted", f"{sum(tally.values()) + len(wrong)} alerts of {len(unique)} incidents ({parts})", wrong)

    def run(self):
        self.chain()
        self.signatures()
        self.transitions()
        self.budgets()
        self.cooldowns()
        states = self.duplicates()
        self.folders(states)
        self.merges()
        if self.args.accepted:
            self.accepted(states)
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, type=Path)
    parser.add_argument("--main", default="main")
    parser.add_argument("--ledger", default="tars/ledger")
    parser.add_argument("--allowed-signers", help="SSH keys that are believed, as git lists them")
    parser.add_argument("--openpgp-keys", help="public OpenPGP keys that are believed, armored")
    parser.add_argument("--per-policy", type=int, default=2)
    parser.add_argument("--global-limit", type=int, default=6)
    parser.add_argument("--cooldown", type=int, default=900, help="seconds")
    parser.add_argument("--open-limit", type=int, default=1000)
    parser.add_argument("--merges-min", type=int, default=0, help="fewer merges than this is no proof")
    parser.add_argument("--accepted", help="accepted alerts, one JSON object per line")
    parser.add_argument("--people", action="store_true", help="people commit to the watched branch as well")
    args = parser.parse_args()
    try:
        return Check(args).run()
    except (Unreadable, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        print(f"FAIL could not look: {error!r}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
