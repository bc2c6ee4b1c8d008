/**
 * What `--help` and the manual show of every command beside its options: command lines that people type, and where to read
 * more.
 */

/** A command line without the program's name, and what it is for. */
type Example = readonly [line: string, what: string];

export interface Taught {
  readonly examples: readonly Example[];
  /** The page of docs/, which `kmodfarm help PAGE` prints. */
  readonly page: string;
}

/** By a command's words. */
export const TAUGHT: Readonly<Record<string, Taught>> = {
  fetch: {
    page: "nodes",
    examples: [
      ["fetch doorbell --load", "for the running kernel, and load it now"],
      [
        "fetch doorbell --kernel 6.1.0-57-amd64 --ready",
        "for a kernel that is installed, before it is booted",
      ],
      ["fetch doorbell --host-root /host --to /host/opt/doorbell", "from a container, for insmod"],
    ],
  },
  init: {
    page: "drivers",
    examples: [
      ["init", "ask a few questions, and write kmodfarm.yaml"],
      ["init --yes --releases debian13 drivers/hello", "ask nothing, for a driver in another directory"],
    ],
  },
  try: {
    page: "drivers",
    examples: [
      ["try", "the driver in this directory, on eight kernels"],
      ["try --distro debian12 --arch x86_64 --all", "on every kernel series of one release"],
      ["try --kernel 6.1.0-57-amd64 src", "on one kernel"],
    ],
  },
  run: {
    page: "config",
    examples: [
      ["run", "all that kmodfarm.yaml selects"],
      ["run --dry-run", "only print what would be built, and why"],
      ["run --distro debian12 --kernel 6.1.0-57-amd64 --retry", "one kernel, also if it failed before"],
    ],
  },
  watch: {
    page: "config",
    examples: [
      ["watch", "until it is stopped with Ctrl-C"],
      ["watch --log-format json", "with progress as NDJSON, for a service"],
    ],
  },
  "catalog update": {
    page: "config",
    examples: [
      ["catalog update", "query every source, and print what each said"],
      ["catalog update --accept-withdrawals", "believe a mirror that dropped many kernels"],
    ],
  },
  "catalog list": {
    page: "registry",
    examples: [
      ["catalog list --distro debian12 --newest 1", "the newest kernel of each series"],
      ["catalog list --kernel-release '6\\.12\\..*' --format tsv", "for other programs"],
    ],
  },
  "catalog import": {
    page: "release-rules",
    examples: [
      ["catalog import x86_64.json", "a list of kernel-crawler"],
      ["catalog import --as driverkit configs/", "dbg-go's configurations"],
    ],
  },
  "catalog export": {
    page: "release-rules",
    examples: [
      ["catalog export", "the whole catalog, as kmodfarm keeps it"],
      ["catalog export --format kernel-crawler --arch x86_64", "as a list of kernel-crawler"],
    ],
  },
  "catalog find": {
    page: "nodes",
    examples: [
      ["catalog find", "the kernel of this machine"],
      ["catalog find --uname-r 6.1.0-57-amd64 --uname-m x86_64", "the kernel of a node"],
    ],
  },
  "matrix generate": {
    page: "config",
    examples: [
      ["matrix generate", "what the configuration selects"],
      ["matrix generate --distro debian12 --arch x86_64", "a part of it, as matrix-gen --distro=… prints it"],
      ["matrix generate --catalog x86_64.json --driver-version 1.0.0", "from a list, without a store"],
    ],
  },
  "matrix diff": {
    page: "github",
    examples: [
      ["matrix diff yesterday.json today.json", "the elements to build"],
      ["matrix diff --report yesterday.json today.json", "what changed, and why"],
    ],
  },
  "matrix show": {
    page: "policy",
    examples: [
      ["matrix show", "where every element stands"],
      ["matrix show --full", "and whether nodes get every byte of it"],
    ],
  },
  "matrix shard": {
    page: "github",
    examples: [
      ["matrix shard --target-minutes 20", "shards of about 20 minutes"],
      ["matrix shard --github", "their ids, for `strategy.matrix`"],
    ],
  },
  build: {
    page: "config",
    examples: [
      ["build", "what the configuration selects, without load tests"],
      ["build --matrix part.json", "the elements of a file"],
    ],
  },
  plan: {
    page: "workers",
    examples: [
      ["plan --out orders", "orders for whatever `run` would do here"],
      ["plan --out orders --read-only --max-shards 20", "on a runner that may not write to the store"],
    ],
  },
  work: {
    page: "workers",
    examples: [
      ["work orders --out handovers", "all of them"],
      ["work orders --out handovers --share 2/5", "the second fifth"],
    ],
  },
  take: {
    page: "workers",
    examples: [
      ["take handovers", "check and publish what workers made"],
      ["take --catalog handovers/*", "and query the sources too"],
    ],
  },
  "github init": {
    page: "github",
    examples: [
      ["github init", "write .github/workflows of this repository"],
      ["github init --store s3://drivers/prod", "for a store in a bucket"],
    ],
  },
  "github try": {
    page: "github",
    examples: [
      ["github try", "every pull request of this repository is built and loaded"],
      ["github try drivers/hello --runner ubuntu-24.04-arm", "a driver in a directory of it"],
    ],
  },
  "toolchain export": {
    page: "images",
    examples: [
      ["toolchain export debian12 gcc-12 --output debian12.tar", "for this machine's architecture"],
      ["toolchain export debian12 gcc-12 --arch aarch64 --output arm.tar", "for another one"],
    ],
  },
  "toolchain import": {
    page: "images",
    examples: [
      ["toolchain import debian12.tar", "into the cache of this directory's farm"],
      ["toolchain import debian12.tar --cache /var/cache/kmodfarm", "into another cache"],
    ],
  },
  rebuild: {
    page: "rebuild",
    examples: [
      ["rebuild hello/1.0.0/debian12/x86_64/6.1.0-57-amd64", "an artifact of the store"],
      ["rebuild download/manifest.json", "whatever a manifest describes"],
    ],
  },
  "statement add": {
    page: "rebuild",
    examples: [
      ["statement add hello.sigstore.json", "what somebody stated who built the artifact again"],
      ["statement add rebuilds/alice.json rebuilds/bob.json --by carol", "what two of them stated"],
    ],
  },
  generations: {
    page: "registry",
    examples: [
      ["generations", "the history, newest first"],
      ["generations --json", "the same for programs"],
    ],
  },
  "generations accept": {
    page: "trust",
    examples: [
      ["generations accept 41 --dry-run", "what it changed, and who claims to have published it"],
      ["generations accept 41", "vouch for it: its drivers reach nodes"],
    ],
  },
  prune: {
    page: "stores",
    examples: [
      ["prune --dry-run", "what would be removed"],
      ["prune --keep 30 --grace-days 14", "keep 30 generations, and two weeks"],
    ],
  },
  fsck: {
    page: "stores",
    examples: [
      ["fsck", "look at names and sizes"],
      ["fsck --full --repair", "read every byte, and restore what has a copy"],
    ],
  },
  verify: {
    page: "trust",
    examples: [
      ["verify https://drivers.example.org/", "as a node would"],
      ["verify --root root.txt .kmodfarm/store", "from a root that you trust"],
    ],
  },
  "store copy": {
    page: "stores",
    examples: [
      ["store copy .kmodfarm/store s3://drivers/prod", "to a bucket"],
      ["store copy s3://drivers/prod /srv/drivers", "and back to a directory"],
    ],
  },
  cache: {
    page: "isolation",
    examples: [
      ["cache", "what takes how much room"],
      ["cache --cache ~/.cache/kmodfarm", "the cache of `kmodfarm try`"],
    ],
  },
  "cache prune": {
    page: "isolation",
    examples: [
      ["cache prune --limit 20G", "down to 20 GiB"],
      ["cache prune", "down to the configured limit"],
    ],
  },
  doctor: {
    page: "isolation",
    examples: [
      ["doctor", "what is missing on this machine"],
      ["doctor --json", "for a report of a bug"],
    ],
  },
  load: {
    page: "checks",
    examples: [
      [
        "load a.ko b.ko --kernel debian12/x86_64/6.1.0-57-amd64 --smoke test.sh",
        "boot that kernel, load two modules, and run a test while they are loaded",
      ],
      ["load hello.ko --kernel 6.1.0-57-amd64 --livepatch patch.ko", "beside a live patch"],
      [
        "load signed.ko --kernel 6.1.0-57-amd64 --secure-boot --enrol mok.der",
        "as a node with Secure Boot and that certificate loads it",
      ],
    ],
  },
  check: {
    page: "checks",
    examples: [
      ["check hello.ko --kernel 6.1.0-57-amd64 --explain", "a module from anywhere, on one page"],
      ["check hello/1.0.0/debian12/x86_64/6.1.0-57-amd64", "an artifact of the store"],
    ],
  },
  audit: {
    page: "audit",
    examples: [
      ["audit /lib/modules", "the modules of this machine"],
      ["audit https://download.example.org/driver/", "what a server hands out"],
    ],
  },
  witness: {
    page: "log",
    examples: [
      [
        "witness https://drivers.example.org/ --key witness.key > signed.txt",
        "see that the log only grew, and sign that",
      ],
      ["witness /srv/drivers --key witness.key --name alice", "a registry in a directory"],
    ],
  },
  "log prove": {
    page: "log",
    examples: [
      [
        "log prove hello/1.0.0/debian12/x86_64/6.1.0-57-amd64 --registry /srv/drivers > hello.tlog-proof",
        "what shows that an artifact was published",
      ],
      [
        "log prove 6.1.0-57-amd64 --registry https://drivers.example.org/ --root root.txt",
        "from a root that you trust",
      ],
    ],
  },
  "log check": {
    page: "log",
    examples: [
      ["log check hello.tlog-proof --root root.txt", "without a network"],
      [
        "log check hello.tlog-proof --root root.txt --manifest manifest.json",
        "and whether it is about this artifact",
      ],
    ],
  },
  "log cosign": {
    page: "log",
    examples: [
      ["log cosign signed.txt", "what `kmodfarm witness` printed"],
      ["log cosign alice.txt bob.txt --store s3://drivers/prod", "of two witnesses"],
    ],
  },
  forecast: {
    page: "forecast",
    examples: [
      ["forecast", "which driver breaks with which kernel, and when that kernel arrives"],
      ["forecast --driver doorbell --superseded", "one driver, also on kernels that newer ones supersede"],
      ["forecast --json", "for programs"],
    ],
  },
  "gap ingest": {
    page: "gap",
    examples: [
      ["gap ingest", "read the configured feeds, and the changelogs of kernels"],
      ["gap ingest kev=known_exploited_vulnerabilities.json", "one feed from a file"],
      ["gap ingest --accept-suspect", "take a feed that lost records"],
    ],
  },
  "gap export": {
    page: "gap",
    examples: [
      ["gap export --format openvex > kernels.vex.json", "the newest kernels, for scanners"],
      ["gap export debian12/x86_64/6.1.0-57-amd64 --format csv", "every CVE of one kernel"],
    ],
  },
  "gap report": {
    page: "gap",
    examples: [
      ["gap report", "how long fixes took, by distribution"],
      ["gap report --rows --today 2026-11-28 --json", "every fix, for programs"],
    ],
  },
  "gap notices": {
    page: "gap",
    examples: [
      ["gap notices", "after each night: what is new, here and to the configured webhooks"],
      ["gap notices --dry-run", "what would be reported now"],
    ],
  },
  "gap explain": {
    page: "gap",
    examples: [
      ["gap explain CVE-2024-26581", "which kernels are affected"],
      ["gap explain CVE-2024-26581 --node web-1", "and of one node, with its live patches"],
      ["gap explain 6.1.119 --open --feed compact=cves.ndjson.gz", "what is open in one release"],
    ],
  },
  "report controls": {
    page: "controls",
    examples: [
      ["report controls", "what is there for an auditor, and what is missing"],
      ["report controls --store /srv/drivers --json", "of another registry, for programs"],
    ],
  },
  "modules root": {
    page: "sets",
    examples: [
      ["modules root /lib/modules/6.19.0 --format hex", "the root of the modules of a kernel"],
      ["modules root build --form stripped > set.json", "every leaf, of a build tree"],
    ],
  },
  "modules prove": {
    page: "sets",
    examples: [
      ["modules prove hello.ko --set set.json", "write hello.ko.merkle beside it"],
      [
        "modules prove kernel/fs/ext4/ext4.ko --set /lib/modules/6.19.0 --to proofs",
        "into another directory",
      ],
      [
        "modules prove hello.ko --registry https://drivers.example.org/ --trust root",
        "as the registry's set of that release proves it",
      ],
    ],
  },
  "modules verify": {
    page: "sets",
    examples: [
      ["modules verify hello.ko --kernel /boot/vmlinuz-6.19.0", "by the root in a boot image"],
      ["modules verify hello.ko world.ko --root 0badc0de/12 --json", "by a root that you know"],
    ],
  },
  "modules attach": {
    page: "trust",
    examples: [
      ["modules attach hello.ko hello.ko.release.p7s --to signed.ko", "what nodes with Secure Boot load"],
      ["modules attach hello.ko hello.cms --to signed.ko", "with a bare CMS signature"],
    ],
  },
  "modules detach": {
    page: "trust",
    examples: [
      [
        "modules detach signed.ko --to parts",
        "the module as it was built, and its signature, in a directory",
      ],
      [
        "modules detach /lib/modules/6.1.0-57-amd64/updates/hello.ko --to /tmp/parts",
        "of an installed module",
      ],
    ],
  },
  "root new": {
    page: "trust",
    examples: [
      [
        "root new --to root.txt --origin farm.example.org/drivers --root-key a.pem --head-key h.pem",
        "the first root",
      ],
      ["root new --after root.txt --to next.txt --days 365", "the next one, for another year"],
    ],
  },
  "root sign": {
    page: "trust",
    examples: [
      ["root sign root.txt", "with every root key of the configuration"],
      ["root sign root.txt --key offline", "with one of them"],
    ],
  },
  "root publish": {
    page: "trust",
    examples: [
      ["root publish root.txt", "to the store of this directory's farm"],
      ["root publish root.txt --store s3://drivers/prod", "to another one"],
    ],
  },
  "keys create": {
    page: "trust",
    examples: [
      ["keys create head --for head --password-file head.password", "a key that signs heads"],
      ["keys create release --for module", "a key for Secure Boot; its password is asked for"],
    ],
  },
  "keys show": {
    page: "trust",
    examples: [
      ["keys show", "every public key"],
      ["keys show release --certificate", "what nodes enrol as a machine owner's key"],
    ],
  },
  promote: {
    page: "policy",
    examples: [
      ["promote --all --why 'tested in staging'", "every candidate that the policy lets pass"],
      ["promote hello/1.0.0/debian12 --why 'tested on two nodes'", "some of them"],
    ],
  },
  import: {
    page: "policy",
    examples: [
      [
        "import hello.ko --target debian12/x86_64/6.1.0-57-amd64 --driver hello --driver-version 1.0.0 --why vendor",
        "a module that somebody else built",
      ],
      [
        "import hello.ko --target 6.1.0-57-amd64 --driver hello --driver-version 1.0.0 --provenance hello.sigstore.json --why vendor",
        "with the builder's statement",
      ],
    ],
  },
  withdraw: {
    page: "policy",
    examples: [
      [
        "withdraw hello/1.0.0/debian12/x86_64/6.1.0-57-amd64 --why 'oops at unload'",
        "nodes no longer get it",
      ],
      ["withdraw hello/1.0.0/debian12/x86_64/6.1.0-57-amd64 --deny --why CVE", "nor use the one they have"],
      ["withdraw hello/1.0.0 --all --dry-run", "shows what would be withdrawn of that version"],
    ],
  },
  reuse: {
    page: "policy",
    examples: [
      [
        "reuse hello/1.0.0/rocky9/x86_64/5.14.0-1 --kernel alma9/x86_64/5.14.0-1 --why 'same kABI'",
        "test, then serve",
      ],
      [
        "reuse hello/1.0.0/rocky9 --kernel alma9/x86_64/5.14.0-1 --why 'same kABI' --json",
        "the same for programs",
      ],
    ],
  },
  floor: {
    page: "policy",
    examples: [
      ["floor hello/1.2.0/debian12 --why 'older ones leak'", "nodes use no older version"],
      ["floor hello/1.2.0 --why CVE --by alice", "decided by somebody else"],
    ],
  },
  rollback: {
    page: "registry",
    examples: [
      ["rollback 41 --why 'bad release'", "all drivers, as they were in generation 41"],
      ["rollback 41 --driver hello --why 'bad release'", "one driver"],
    ],
  },
  help: {
    page: "cli",
    examples: [
      ["help run", "what a command does"],
      ["help exit-codes", "a page of docs"],
      ["help --all", "every command, one after the other"],
    ],
  },
  completion: {
    page: "cli",
    examples: [
      ["completion bash > ~/.local/share/bash-completion/completions/kmodfarm", "for bash, once"],
      ["completion zsh > ~/.zfunc/_kmodfarm", "for zsh, in a directory of $fpath"],
      ["completion fish > ~/.config/fish/completions/kmodfarm.fish", "for fish"],
    ],
  },
};
