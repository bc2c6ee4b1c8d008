import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "rolldown/parseAst";
import { describe, expect, test } from "vitest";

/** Reading order: a folder imports only from itself and from those before it. */
const ORDER = [
  "base",
  "formats",
  "kernel",
  "catalog",
  "matrix",
  "inputs",
  "builder",
  "provenance",
  "check",
  "registry",
  "gap",
  "signing",
  "farm",
  "ci",
  "agent",
  "cli",
] as const;
/** What runs on nodes, in one file: nothing of what builds and publishes is in it. */
const AGENT_IMPORTS = ["agent", "base", "formats", "kernel", "provenance"];
/** What reads bytes and documents, and decides, without a machine: with all that it imports. */
const PURE = [
  ...[
    "formats/",
    "kernel/",
    "matrix/",
    "catalog/catalog.ts",
    "catalog/annotated.ts",
    "inputs/input-record.ts",
    "inputs/package-signature.ts",
    "builder/records.ts",
    "provenance/",
    "check/checks/",
    "check/policy.ts",
    "gap/",
    "ci/",
  ],
  ...["documents", "decisions", "element-state", "publish", "reuse", "standing"].map(
    (name) => `registry/${name}.ts`,
  ),
];
const IO = /^node:(fs|child_process|net|tls|dgram|dns|http|https|http2|worker_threads|cluster)(\/|$)/;
/** Who became root by sudo is known from there alone. */
const MAY_READ_ENVIRONMENT = /^(cli|farm\/config)\/|^base\/own-place\.ts$/;

/** Calls that go down a path part by part; what only makes files and directories of our own is no matter. */
const BY_PATH =
  /^(access|chown|cp|copyFile|createReadStream|existsSync|lchown|lstat|open|opendir|readdir|readFile|readlink|realpath|rm|rmdir|stat|truncate|watch)(Sync)?$/;
/** What each file that calls them has there: places of ours, or what a person names on the command line. */
const OWN_PLACES: Readonly<Record<string, string>> = {
  "agent/mirrors.ts": "a registry's directory that a person names",
  "agent/place.ts": "the node's own modules",
  "agent/state.ts": "the node's own state and settings",
  "base/cache.ts": "entries of the cache",
  "base/decompress.ts": "a file without a name that it unpacks to",
  "base/descriptors.ts": "/proc/self/fd",
  "base/ending.ts": "/proc",
  "base/http.ts": "its own temporary file",
  "base/file-digest.ts": "a file whose digest is asked",
  "base/own-files.ts": "the directory of this program",
  "base/own-place.ts": "asks who owns the farm's own places",
  "base/process-name.ts": "/proc",
  "base/read-at-most.ts": "a file that a person or a setting names",
  "base/read-stream.ts": "files of ours",
  "base/programs.ts": "programs on the path",
  "base/scratch.ts": "the scratch directory, looked at before it is used",
  "base/strange-directory.ts": "the descriptor walk itself",
  "base/strange-tree.ts": "descriptors",
  "builder/attempt.ts": "attempts in the cache, taken over by builder/outputs.ts",
  "inputs/inputs.ts": "packages in the cache, by their digests",
  "builder/origins/archive.ts": "an archive that the configuration names",
  "builder/origins/git-access.ts": "a key and a password that the configuration names",
  "builder/source-archive.ts":
    "an archive of an order, whose digest was asked; that of the tree inside is asked after",
  "builder/origins/directory.ts": "a directory that the configuration names: whether it is a file",
  "builder/origins/git-ignored.ts": "a directory that the configuration names: where it is",
  "builder/origins/not-source.ts": "places of the configuration: where they are",
  "builder/origins/git-repository.ts": "a repository that the configuration names: whether it is there",
  "builder/origins/origin.ts": "what was remembered of servers, an archive that the configuration names",
  "builder/pack.ts": "modules that were taken over",
  "builder/sandboxes/bubblewrap.ts": "its own status file, inputs that are mounted",
  "builder/sandboxes/cgroup.ts": "control groups",
  "builder/sandboxes/confine.ts": "on which devices outputs are",
  "builder/sandboxes/docker.ts": "outputs before the build begins, a toolchain root",
  "builder/sandboxes/layout.ts": "/proc, inputs that are mounted",
  "builder/sandboxes/podman.ts": "its own state",
  "builder/sandboxes/prove.ts": "a root of its own",
  "builder/sandboxes/shortage.ts": "/proc, control groups",
  "builder/sandboxes/usage.ts": "/proc",
  "inputs/seal.ts": "seals in the cache",
  "builder/toolchains/archive.ts": "roots in the cache, archives that a person names",
  "builder/toolchains/emulation.ts": "/proc/sys",
  "builder/toolchains/image.ts": "images/",
  "builder/toolchains/roots/box.ts": "the place of a new root",
  "builder/toolchains/roots/dnf.ts": "this machine's rpm, packages that dnf fetched",
  "builder/toolchains/roots/apt.ts": "this machine's keyrings",
  "builder/toolchains/roots/root-method.ts": "packages that were copied out of the box",
  "builder/toolchains/toolchain.ts": "records of roots",
  "catalog/apt-host.ts": "this machine's apt sources",
  "catalog/index-file.ts": "an index that was fetched, a list that the configuration names",
  "catalog/read-apart.ts": "its own temporary file",
  "catalog/list-source.ts": "its own temporary file",
  "catalog/signing-keys.ts": "a key that the configuration names",
  "catalog/source.ts": "what was remembered of servers",
  "check/guest/boot-image.ts": "boot images in the cache, by their digests",
  "check/guest/box.ts": "the files of one guest",
  "check/guest/firmware.ts": "this machine's firmware, the files of one guest",
  "check/guest/tools.ts": "this machine's busybox",
  "check/guest/kept.ts": "single files in the cache, by their digests",
  "check/load.ts": "the files of one guest",
  "check/guest/qemu.ts": "the console of one guest",

  "cli/catalog-io.ts": "lists that a person names",
  "cli/commands/driver/try.ts": "where a driver and a configuration lie",
  "cli/commands/driver/init.ts": "whether a farm is in the tree already",
  "cli/commands/github/written.ts": "where it writes workflows",
  "cli/commands/help/help.ts": "our own documentation",
  "cli/commands/modules/check.ts": "modules that a person names",
  "cli/commands/modules/prove.ts": "a set that a person names: whether it is a directory",
  "cli/commands/catalog/find.ts": "a catalog that a person names",
  "cli/commands/node/fetch.ts": "the node's settings",
  "cli/commands/night/rebuild.ts": "a manifest that a person names",
  "cli/feed-input.ts": "feeds that a person names",
  "cli/input.ts": "files that a person names",
  "cli/main.ts": "package.json",
  "cli/matrix-io.ts": "matrices that a person names",
  "cli/module-files.ts": "modules that a person names",
  "cli/commands/trust/verify.ts": "what a person names: what kind it is",
  "cli/named-file.ts": "files that a person names",
  "cli/options.ts": "the configured store and cache: whether they are there",
  "farm/sets/hash-thread.ts": "a directory of modules that a person names: whether it changes",
  "farm/sets/module-order.ts": "a directory of modules that a person names",
  "cli/run-log.ts": "our own logs, in the cache or where the command line says",
  "farm/audit/local-file.ts": "modules that a person names, and what lies beside them",
  "farm/audit/place.ts": "a directory of modules that a person names",
  "farm/config/index.ts": "the configuration",
  "farm/doctor.ts": "places of the configuration",
  "farm/night/element.ts": "attempts in the cache",
  "farm/executors/orders.ts": "orders that this farm gave, in the cache",
  "farm/gap/feed-files.ts": "files and directories that the configuration names, what was fetched",
  "farm/kept-copies.ts": "attempts in the cache",
  "farm/signing/key-findings.ts": "files of keys that the configuration names",
  "farm/night/ledger.ts": "logs of attempts in the cache",
  "farm/workers/order-directory.ts": "a directory of orders that a person names",
  "farm/night/load-test.ts": "attempts, and verdicts in the cache",
  "farm/rebuild/kept-inputs.ts": "its own temporary files",
  "farm/rebuild/rebuild.ts": "attempts in the cache",
  "farm/rebuild/inputs.ts": "records of roots in the cache",
  "farm/rebuild/statements.ts": "the log of an attempt in the cache",
  "farm/workers/quarantine.ts": "what was refused, in the cache",
  "farm/workers/hand-over-file.ts": "places of hand-overs that a person names, copies of ours",
  "farm/workers/take.ts": "hand-overs that a person names, and what of them was checked",
  "farm/workers/work.ts": "attempts in the cache",
  "farm/workers/workshop.ts": "records of roots",
  "farm/signing/keys.ts": "public keys that the configuration names",
  "cli/commands/keys/create.ts": "a password's file, the terminal",
  "registry/artifact-content.ts": "attempts in the cache",
  "registry/copy.ts": "its own temporary file",
  "registry/input-archive.ts": "the size of a file of ours that is archived",
  "registry/kept.ts": "parts in the cache, by their digests",
  "registry/stores/folder.ts": "packages in the cache",
  "registry/stores/s3.ts": "packages in the cache",
  "signing/box.ts": "packages of this program",
  "signing/create.ts": "new keys, in a directory that a person names",
  "signing/keys/file.ts": "a key that the configuration names",
  "signing/open.ts": "a password's file that the configuration names, the terminal",
  "signing/password.ts": "a descriptor that it was given",
};

/** Looking into what is said to people. */
const READS_PROSE =
  /\bmessage\??\.(includes|startsWith|endsWith|match|search|replace|replaceAll|slice|split|indexOf)\(|\.(test|exec)\(\w+\.message\b|\b(refusals?|reasons?)\b[^;]*\.(includes|startsWith|endsWith|match)\("/;
/** What other programs say has no codes. */
const OTHERS_WORDS: Readonly<Record<string, string>> = {
  "builder/toolchains/roots/apt.ts": "apt, of a lock that is gone",
  "check/load-verdict.ts": "insmod and modprobe in a guest",
  "cli/program.ts": "commander",
  "farm/config/problems.ts": "zod",
  "formats/xml.ts": "the XML parser's own, cut short",
};

const SRC = join(import.meta.dirname, "..", "src");

/** Names that a file takes from node:fs and node:fs/promises. */
function usesOfFileSystem(text: string): string[] {
  const lists = [...text.matchAll(/import \{([^}]*)\} from "node:fs(?:\/promises)?"/g)];
  return lists.flatMap(([, names = ""]) => names.split(",").map((name) => name.trim()));
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Modules it names: `node:fs`, `zod`, or the path below src/ of another file. */
  readonly imports: readonly string[];
  /** Those of them that are there when it runs: more than types are taken from them. */
  readonly loads: readonly string[];
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(SRC, path), "utf8");
  const [imports, loads]: [string[], string[]] = [[], []];
  const visit = (node: unknown) => {
    if (typeof node !== "object" || node === null) return;
    // Static, re-exporting and dynamic imports, those of types alone included.
    if (
      "source" in node &&
      typeof node.source === "object" &&
      node.source !== null &&
      "value" in node.source
    ) {
      const target = resolve(path, String(node.source.value));
      imports.push(target);
      if (!isOfTypes(node)) loads.push(target);
    }
    for (const child of Object.values(node)) visit(child);
  };
  visit(parseAst(text, { lang: "ts", sourceType: "module" }, path));
  return { path, text, imports, loads };
}

/** `import type …`, `import { type A, type B } …`: gone when the file runs. */
function isOfTypes(node: object): boolean {
  const kindOf = (one: object) =>
    ("importKind" in one && one.importKind) || ("exportKind" in one && one.exportKind);
  if (kindOf(node) === "type") return true;
  const names = "specifiers" in node && Array.isArray(node.specifiers) ? node.specifiers : [];
  return names.length > 0 && names.every((one: object) => kindOf(one) === "type");
}

/** How each file that runs when `entry` does comes to run: its importers, `entry` first. */
function closureOf(entry: SourceFile): Map<SourceFile, readonly string[]> {
  const ways = new Map<SourceFile, readonly string[]>([[entry, [entry.path]]]);
  for (const [file, way] of ways)
    for (const target of file.loads) {
      const next = BY_NAME.get(target);
      if (next !== undefined && !ways.has(next)) ways.set(next, [...way, target]);
    }
  return ways;
}

function resolve(from: string, specifier: string): string {
  return specifier.startsWith(".") ? join(from, "..", specifier) : specifier;
}

const folderOf = (path: string) => path.split("/")[0] ?? "";
const rank = (path: string) => (ORDER as readonly string[]).indexOf(folderOf(path));
const FILES = globSync("**/*.ts", { cwd: SRC })
  .filter((path) => !path.endsWith(".test.ts"))
  .sort()
  .map(readSource);
const BY_NAME = new Map(FILES.map((file) => [file.path, file]));

describe("the source", () => {
  test("lies in the folders of the reading order, and is read here", () => {
    expect(FILES.length).toBeGreaterThan(50);
    expect([...new Set(FILES.map(({ path }) => folderOf(path)))].toSorted()).toEqual(ORDER.toSorted());
    expect(FILES.find(({ path }) => path === "base/run.ts")?.imports).toContain("node:child_process");
  });

  test("imports only from the same folder and from those before it", () => {
    const upward = FILES.flatMap(({ path, imports }) =>
      imports
        .filter((target) => target.endsWith(".ts") && rank(target) > rank(path))
        .map((target) => `${path} → ${target}`),
    );

    expect(upward).toEqual([]);
  });

  test("keeps what runs on nodes free of what builds and publishes", () => {
    const found = FILES.filter(({ path }) => folderOf(path) === "agent").flatMap(({ path, imports }) =>
      imports
        .filter((target) => target.endsWith(".ts") && !AGENT_IMPORTS.includes(folderOf(target)))
        .map((target) => `${path} → ${target}`),
    );

    expect(found).toEqual([]);
  });

  test("has no circle of imports", () => {
    const waiting = new Map(FILES.map(({ path, imports }) => [path, imports]));
    for (let before = -1; before !== waiting.size; ) {
      before = waiting.size;
      for (const [path, imports] of waiting)
        if (!imports.some((target) => waiting.has(target))) waiting.delete(path);
    }

    expect([...waiting.keys()], "in a circle, or after one").toEqual([]);
  });

  test("does no input or output in what is pure, nor in anything that this loads", () => {
    const pure = FILES.filter(({ path }) => PURE.some((entry) => path.startsWith(entry)));
    const impure = pure.flatMap((entry) =>
      [...closureOf(entry)].flatMap(([{ imports }, way]) =>
        imports.filter((target) => IO.test(target)).map((target) => [...way, target].join(" → ")),
      ),
    );

    expect(pure.length).toBeGreaterThan(60);
    expect(impure).toEqual([]);
  });

  test("starts programs in one place", () => {
    const starters = FILES.filter(({ imports }) => imports.includes("node:child_process"));

    expect(starters.map(({ path }) => path)).toEqual(["base/run.ts"]);
  });

  test("reads the environment at its edge only", () => {
    const readers = FILES.filter(({ text }) =>
      /\bprocess\s*\.\s*env\b|\benv\b[^;]*from "node:process"/.test(text),
    );

    expect(readers.map(({ path }) => path).filter((path) => !MAY_READ_ENVIRONMENT.test(path))).toEqual([]);
  });

  test("says of every rejection that is passed over why nothing is lost", () => {
    const silent = FILES.flatMap(({ path, text }) => {
      const lines = text.split("\n");
      return lines.flatMap((line, index) => {
        const around = lines.slice(Math.max(0, index - 3), index + 1).join("\n");
        return /\.catch\(\(\) => \{\}\)/.test(line) && !/\/\/ |\*\/$/m.test(around)
          ? [`${path}:${index + 1}`]
          : [];
      });
    });

    expect(silent).toEqual([]);
  });

  test("touches strangers' trees by descriptor only: who else walks, reads or removes says what", () => {
    const found = FILES.filter(({ text }) => usesOfFileSystem(text).some((name) => BY_PATH.test(name)));

    expect(found.map(({ path }) => path).toSorted()).toEqual(Object.keys(OWN_PLACES).toSorted());
  });

  test("decides nothing by sentences: errors have codes and subjects, reasons have codes", () => {
    const found = FILES.filter(({ text }) => text.split("\n").some((line) => READS_PROSE.test(line)));

    expect(found.map(({ path }) => path).toSorted()).toEqual(Object.keys(OTHERS_WORDS).toSorted());
  });

  test("removes whole trees in one way", () => {
    const others = FILES.filter(({ text }) => /\brm(Sync)?\([^;]*recursive/.test(text));

    expect(others.map(({ path }) => path)).toEqual([]);
  });

  test("begins each file with what it is for", () => {
    const silent = FILES.filter(({ text }) => !/^\/\*\*[\s*]+[^\s*/]/.test(text));

    expect(silent.map(({ path }) => path)).toEqual([]);
  });
});
