/**
 * What upstream fixed and nobody gave a CVE to yet: changelogs name commits months after the last day of the feed of CVEs.
 * Which of them close a hole is guessed by the words of their subjects: a heuristic, whose precision and recall docs/gap.md
 * has.
 */
import { parseUpstreamVersion } from "../kernel/upstream-version.ts";
import { type ChangelogFixes, reachOf, subjectOf } from "./evidence/changelog.ts";
import type { Cve, Day } from "./records.ts";
import type { Target } from "./target.ts";

interface Signal {
  readonly name: string;
  readonly expression: RegExp;
  /** Fitted to the stable commits of 2024 and 2025 in Debian's changelog of 6.1: the log of how much likelier it makes a CVE. */
  readonly weight: number;
}

const SIGNALS: readonly Signal[] = [
  {
    name: "freed memory",
    expression:
      /use[- ]after[- ]free|\buaf\b|double[- ](?:free|put|fput)|dangling|\bafter free|refcount|refcnt|reference count|\bstale\b|premature/,
    weight: 2,
  },
  {
    name: "bounds",
    expression:
      /out[- ]of[- ]bounds?|\boob\b|over(?:flow|run|read|write)|underflow|(?:beyond|past) (?:the )?end|bounds|wrap ?around|\bshift/,
    weight: 1.5,
  },
  { name: "null pointer", expression: /null[- ]?(?:ptr|pointer|deref)|\bnull\b|deref/, weight: 2.3 },
  { name: "uninitialised memory", expression: /uninit|info(?:rmation)?[- ]leak|expos/, weight: 0.7 },
  {
    name: "crash",
    expression:
      /crash|panic|\boops|bug_on|kernel bug|\bgpf\b|general protection|page fault|invalid (?:memory )?access|corrupt/,
    weight: 1.4,
  },
  {
    name: "hang",
    expression: /dead ?lock|lock[- ]?up|\bhang|hung|\bstall|infinite loop|endless|livelock|recursi/,
    weight: 1.1,
  },
  { name: "race", expression: /\brac(?:e|es|y|ing)\b|concurren|toctou|\brcu\b|synchroniz/, weight: 0.8 },
  {
    name: "missing check",
    expression: /validat|sanity|sanitiz|reject|\bcheck\b|limit|\bcap\b|clamp|restrict/,
    weight: 0.9,
  },
  { name: "arithmetic", expression: /divi(?:de|sion)|by[- ]zero|integer|signedness|truncat/, weight: 0.4 },
  { name: "leak", expression: /\bleak|memleak/, weight: 0.5 },
  {
    name: "warning of a checker",
    expression:
      /\bwarn(?:ing|_on)?\b|lockdep|splat|kasan|kmsan|kcsan|ubsan|syz(?:bot|kaller|caller)|atomic context/,
    weight: 0.4,
  },
  {
    name: "prevention",
    expression: /\bprevent|\bavoid|\bpotential|\bpossible|don't|do not|\bensure|make sure/,
    weight: 0.6,
  },
  {
    name: "teardown",
    expression:
      /error (?:path|handling)|on error|\bfail|unwind|\bdestroy|\bremov|teardown|unbind|unregister|\bcancel|\bflush|\bdrop|\brelease|\bfree\b|disconnect/,
    weight: 0.5,
  },
  { name: "locking", expression: /\block|unlock|mutex|spinlock|\bsrcu/, weight: 0.3 },
  { name: "fix", expression: /\bfix(?:es|ed)?\b/, weight: 0.4 },
  {
    name: "network",
    expression:
      /^(?:net|ipv[46]|tcp|udp|sctp|netfilter|nf_|nft|xfrm|bluetooth|wifi|vsock|tipc|rds|can|bpf|xsk|tls|smc|mptcp|sched|nfc|l2tp|ppp|af_|ip6|ip_|bridge|batman|openvswitch)/,
    weight: 0.6,
  },
  {
    name: "file system",
    expression:
      /^(?:ext4|btrfs|xfs|f2fs|ntfs|fs|nfs|smb|ksmbd|ceph|ocfs2|jfs|hfs|udf|gfs2|nilfs2|fuse|overlayfs|ovl|exfat|squashfs|jbd2|cifs|9p|afs|reiserfs|erofs|iomap|isofs|vfs)/,
    weight: 0.4,
  },
  {
    name: "nothing to run",
    expression:
      /^revert|typo|spelling|comment|document|kernel-?doc|\bstyle|white ?space|clean ?up|rename|refactor|simplif|unused|\bhelper|\bmacro|kconfig|compil|\bbuild|include|\bfactor|convert|consolidat|introduce|\bexport|selftests?|^tools|^perf|kunit|bindings|\bdts\b|\bdefconfig|maintainers|annotat/,
    weight: -1,
  },
  {
    name: "a device's own",
    expression:
      /quirk|add support|support for|\bids?\b|headset|\bmic\b|\bmute|\bled\b|panel|laptop|\bdmi\b|realtek|alc\d|frequency|clock|\bclk|pinctrl|regulator|telit|compatible/,
    weight: -0.9,
  },
];
const LIKELY_FROM = 1.1;

/** Why a commit with such a subject is likely to close a hole; undefined if it is not. */
export function likelySecurity(subject: string): readonly string[] | undefined {
  const text = subject.slice(0, LONGEST_SUBJECT).toLowerCase();
  const found = SIGNALS.filter(({ expression }) => expression.test(text));
  const score = found.reduce((sum, { weight }) => sum + weight, 0);
  return score < LIKELY_FROM ? undefined : found.flatMap(({ name, weight }) => (weight > 0 ? [name] : []));
}

const LONGEST_SUBJECT = 500;

/** A commit of kernel.org without a CVE that is likely to close a hole. */
interface Suspect {
  readonly subject: string;
  /** The release of kernel.org, and the upload that took it in. */
  readonly release: string;
  readonly upload: string;
  readonly day?: Day;
  readonly signals: readonly string[];
}

export interface Watched {
  /** How many commits beyond the feed have no CVE, in the kernel and in later uploads of its source. */
  readonly looked: number;
  /** What the kernel has. */
  readonly fixed: readonly Suspect[];
  /** What only later uploads have. */
  readonly open: readonly Suspect[];
}

/** What releases beyond the feed's reach fixed without a CVE; undefined where no changelog speaks of the kernel. */
export function watch(
  changelogs: readonly ChangelogFixes[],
  cves: readonly Cve[],
  target: Target,
): Watched | undefined {
  const changelog = changelogs.find((one) => one.speaksOf(target));
  return changelog === undefined
    ? undefined
    : watchUpTo(changelog, cves, changelog.uploadOf(target.packageVersion));
}

/** The same of the newest upload of a source. */
export function watchNewest(changelog: ChangelogFixes, cves: readonly Cve[]): Watched {
  return watchUpTo(changelog, cves, changelog.entries.length - 1);
}

function watchUpTo(changelog: ChangelogFixes, cves: readonly Cve[], upload: number): Watched {
  const [reach, titles] = [reachOf(cves), new Set(cves.map(({ title }) => subjectOf(title)))];
  const [fixed, open]: [Suspect[], Suspect[]] = [[], []];
  let looked = 0;
  for (const [index, { version, day, bullets }] of changelog.entries.entries())
    for (const { text, stable } of bullets) {
      const release = stable === undefined ? undefined : parseUpstreamVersion(stable);
      if (stable === undefined || release === undefined) continue;
      // What is older than the feed was looked at by those who give CVEs.
      if (release.patch <= (reach.get(release.series) ?? Number.POSITIVE_INFINITY)) continue;
      if (/\bCVE-\d{4}-\d{4,12}\b/.test(text) || titles.has(subjectOf(text))) continue;
      looked++;
      const signals = likelySecurity(subjectOf(text));
      if (signals === undefined) continue;
      const suspect = {
        subject: text,
        release: stable,
        upload: version,
        ...(day === undefined ? {} : { day }),
        signals,
      };
      (index <= upload ? fixed : open).push(suspect);
    }
  return { looked, fixed, open };
}
