/**
 * What every client on nodes must do: put exactly the modules in place that a registry has for the kernel, all or none, or
 * say in one word why not. Titles that begin with an id are attacks that docs/security.md and docs/registry.md forbid.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { release as running } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/base/json.ts";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { signatureTrailer } from "../../src/formats/module-signature.ts";
import { imageFacts } from "../../src/kernel/facts.ts";
import { kernelName } from "../../src/kernel/kernel.ts";
import { HEAD_PATH, readHead, writeHead } from "../../src/provenance/head.ts";
import type { NodeBlock, Proven } from "../../src/provenance/node-index.ts";
import { writeNote } from "../../src/provenance/signed-note.ts";
import { rootText as setRoot, writeProof } from "../../src/provenance/trees/linux-merkle.ts";
import { entryHash } from "../../src/provenance/trees/rfc6962.ts";
import { readTrust, writeTrust } from "../../src/provenance/trust.ts";
import { blobPath } from "../../src/registry/blobs.ts";
import type { Decision } from "../../src/registry/documents.ts";
import { nextState } from "../../src/registry/publish.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../support/artifacts.ts";
import { randomFrom } from "../support/damage.ts";
import { makeElement } from "../support/elements.ts";
import { makeCatalog, makeKernel } from "../support/kernels.ts";
import {
  blockOf,
  daysFromNow,
  faultOfLeaf,
  given,
  leafOf,
  makeHost,
  makeNodeRegistry,
  moduleOf,
  type NodeRegistry,
  provenBy,
  rootNote,
  serveFile,
  UNAME,
} from "../support/node-registry.ts";
import {
  changedLines,
  makeTestKey,
  ORIGIN,
  signed,
  type TestKey,
  trustOf,
  trustWithLog,
} from "../support/notes.ts";
import { startServer } from "../support/server.ts";
import { firstRoot, HEAD_KEY, publishSigned, putRoot, ROOT_KEY } from "../support/signed-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export interface NodeClient {
  readonly name: string;
  readonly argv: readonly string[];
  /** Where it finds its tools. */
  readonly path: string;
  /**
   * How much of the contract: `brief` shows that its tools do, `short` leaves out what takes long, `thorough` has more
   * damage and more kills. `npm run test:wide node-client` is for what the usual suite leaves out. Default: `whole`.
   */
  readonly extent?: "brief" | "short" | "whole" | "thorough";
  /** How long it is at work at most, from its start: for kills at any moment of that. */
  readonly workMs?: number;
}

interface Said {
  readonly word: string;
  readonly exit: number | null;
  readonly sentence: string;
}

export const SETS = `lib/modules/${UNAME.release}/updates/kmodfarm`;
export const ALL_OF_ONE = { "doorbell.ko": moduleOf("one"), "tally.ko": moduleOf("one", "tally") };
export const ALL_OF_TWO = { "doorbell.ko": moduleOf("two"), "tally.ko": moduleOf("two", "tally") };
export const TWO = {
  version: "0.1.2",
  modules: Object.entries(ALL_OF_TWO).map(([file, content]) => ({ file, content })),
};
export const says = (word: string, exit: number, sentence: unknown = expect.any(String)): Said => ({
  ...{ word, exit },
  sentence: sentence as string,
});

/** What of a driver would be loaded. */
export async function inPlace(folder: string): Promise<Record<string, Buffer> | undefined> {
  if (!existsSync(join(folder, "doorbell"))) return undefined;
  const names = (await readdir(join(folder, "doorbell"))).filter((name) => name.endsWith(".ko")).toSorted();
  const entries = names.map(async (name) => [name, await readFile(join(folder, "doorbell", name))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Where modprobe would find the driver. */
async function indexed(host: string): Promise<string[]> {
  const text = await readFile(join(host, `lib/modules/${UNAME.release}/modules.dep`), "latin1");
  return [...text.matchAll(/^(\S*doorbell\.ko):/gm)].map(([, path = ""]) => path);
}

const rootAt = (
  version: number,
  root = [ROOT_KEY],
  head = [HEAD_KEY],
  changes: Parameters<typeof trustOf>[2] = {},
) => trustOf(root, head, { version, ...changes });

const rootText = (trust: ReturnType<typeof rootAt>, keys: readonly TestKey[]) =>
  writeNote(signed(writeTrust(trust), trust.origin, keys));

function isRead(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

/** Of a list that nobody signed. */
function strangeKernel({ kversion, architecture, packageVersion }: CatalogKernel, other = packageVersion) {
  const sources = ["strangers"];
  return makeKernel({ distribution: "debian99", packageVersion: other, kversion, architecture, sources });
}

type Asked = readonly [host: string, registries: readonly string[], ...more: readonly string[]];

function startClient({ argv, path }: NodeClient, ...[host, registries, ...more]: Asked) {
  const mirrors = registries.flatMap((one) => ["--registry", one]);
  const [program = "", ...args] = [...argv, "doorbell", "--host-root", host, ...mirrors, ...more];
  return spawn(program, args, {
    env: { PATH: path, KMODFARM_TIMEOUT: "2", KMODFARM_WAIT: "20" },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

export async function askClient(client: NodeClient, ...asked: Asked): Promise<Said> {
  const child = startClient(client, ...asked);
  let stdout = "";
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  const [exit] = await once(child, "close");
  const [, word = stdout, sentence = ""] = /^(\w+): (.*)\n$/.exec(stdout) ?? [];
  return { word, exit, sentence };
}

export function nodeClientContract(client: NodeClient): void {
  const { name, extent = "whole", workMs = 450 } = client;
  const isThorough = extent === "thorough";
  const ask = (...asked: Asked) => askClient(client, ...asked);

  /** A registry with one answer, and a host. */
  async function setUp(blocks?: (registry: NodeRegistry) => Promise<readonly NodeBlock[]>) {
    const registry = await makeNodeRegistry();
    await registry.publish((await blocks?.(registry)) ?? [blockOf(await given(registry))]);
    const host = await makeHost();
    return { registry, host, place: join(host, SETS), url: registry.directory };
  }

  describe(`a node's client, ${name}`, () => {
    test("puts the modules in place, once, and depmod finds them", async () => {
      const { host, place, registry, url } = await setUp();

      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect(await inPlace(place)).toEqual(ALL_OF_ONE);
      expect(await readFile(join(host, `lib/modules/${UNAME.release}/modules.dep`), "latin1")).toContain(
        "updates/kmodfarm/doorbell/doorbell.ko:",
      );
      const slot = await readlink(join(place, "doorbell"));
      await rm(registry.directory, { recursive: true });
      expect(await ask(host, [url])).toEqual(says("exact", 0, expect.stringContaining("does not answer")));
      expect(await ask(host, [], "--offline")).toEqual(says("exact", 0));
      expect(await readlink(join(place, "doorbell"))).toBe(slot);
    });

    test("reads what a farm publishes, and knows the kernel by the words of its package", async () => {
      const store = await openFolderStore(await temporaryDirectory());
      await putRoot(store, firstRoot());
      const kernel = makeKernel({ kversion: UNAME.release, architecture: UNAME.machine as "x86_64" });
      const { kversion, packageVersion, architecture } = kernel;
      const element = makeElement({ kversion, packageVersion, architecture });
      const content = `\0vermagic=${UNAME.release} SMP \0`;
      await putBlobs(store, element, content);
      const outcome = makeOutcome(element, {
        artifact: { entry: makeEntry(element, content), isStable: true },
      });
      await publishSigned(store, nextState(NOTHING, makeCatalog([kernel]), [outcome]), { now: new Date() });
      const host = await makeHost();

      expect(await ask(host, [store.place], "--to", join(host, "to"))).toEqual(says("exact", 0));
      expect(await inPlace(join(host, "to"))).toEqual({ "doorbell.ko": Buffer.from(`module ${content}`) });
    });

    test("takes a newer version in place of the one before, over HTTP and from the mirror that has it", async () => {
      const { host, place, registry, url } = await setUp();
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))]);
      const server = await startServer((request, response) => void serveFile(registry, request, response));

      expect(await ask(host, ["http://127.0.0.1:9", "/nowhere", server.url])).toEqual(says("exact", 0));
      expect(await inPlace(place)).toEqual(ALL_OF_TWO);
      expect(await indexed(host)).toEqual(["updates/kmodfarm/doorbell/doorbell.ko"]);
      expect(server.requests.length).toBeLessThanOrEqual(4 + 2);
    });

    test("--to FOLDER, and modules that were built for another kernel", async () => {
      const { host, url } = await setUp(async (registry) => [
        blockOf(await given(registry, { builtFor: `debian12/x86_64/${UNAME.release}_6.1.170-2` })),
      ]);
      const folder = join(host, "folder");

      expect(await ask(host, [url], "--to", folder)).toEqual(says("loadsOn", 0));
      expect(await inPlace(folder)).toEqual(ALL_OF_ONE);
    });

    test.skipIf(process.getuid?.() !== 0)(
      "--to FOLDER, if nobody else can write there: he would choose what is loaded",
      async () => {
        const { host, url } = await setUp();
        const folder = join(host, "folder");
        const asked = () => ask(host, [url], "--to", folder);
        const slot = join(folder, ".sets/doorbell/0");
        const spots = [folder, join(folder, ".sets"), join(folder, ".sets/doorbell"), slot];
        spots.push(join(slot, "doorbell.ko"));
        expect(await asked()).toEqual(says("exact", 0));
        for (const spot of spots) {
          const { mode } = await stat(spot);
          await chown(spot, 65534, 65534);
          expect(await asked()).toEqual(says("cannotWrite", 3, expect.stringContaining(spot)));
          await chown(spot, 0, 0);
          await chmod(spot, 0o1777);
          expect(await asked()).toEqual(says("cannotWrite", 3, expect.stringContaining(spot)));
          await chmod(spot, mode);
          expect(await asked()).toEqual(says("exact", 0));
        }
        await rm(folder, { recursive: true });
        await mkdir(join(folder, "theirs/0"), { recursive: true });
        await chown(join(folder, "theirs"), 65534, 65534);
        await symlink("theirs", join(folder, ".sets"));
        expect(await asked()).toEqual(says("cannotWrite", 3));
      },
    );

    test.skipIf(process.getuid?.() !== 0)(
      "--to FOLDER, if nobody else can put another in its place, or in that of what a link leads to",
      async () => {
        const { host, url } = await setUp();
        const [above, link] = [join(host, "above"), join(host, "link")];
        await mkdir(join(above, "own"), { recursive: true });
        await symlink("above/../above", link);
        for (const place of [join(above, "own"), `${link}/own/../own`]) {
          const asked = () => ask(host, [url], "--to", place);
          const refused = says("cannotWrite", 3);
          await chown(above, 65534, 65534);
          expect(await asked()).toEqual(refused);
          await chown(above, 0, 0);
          await chmod(above, 0o777);
          expect(await asked()).toEqual(refused);
          await chmod(above, 0o1777);
          expect(await asked()).toEqual(says("exact", 0));
        }
      },
    );

    test.skipIf(process.getuid?.() !== 0)(
      "believes nothing that another user kept: his root would be one of its own registry",
      async () => {
        const { host, url } = await setUp();
        const state = join(host, "var/lib/kmodfarm");
        expect(await ask(host, [url])).toEqual(says("exact", 0));
        // Whatever it says: it is not read.
        await writeFile(join(state, "root"), "a root of his");
        for (const spot of [join(state, "root"), join(state, "head"), state]) {
          await chown(spot, 65534, 65534);
          expect(await ask(host, [url])).toEqual(says("cannotWrite", 3, expect.stringContaining(spot)));
          await chown(spot, 0, 0);
        }
        await rm(join(state, "root"));
        await chmod(state, 0o777);
        expect(await ask(host, [url])).toEqual(says("cannotWrite", 3));
        await chmod(state, 0o700);
        expect(await ask(host, [url])).toEqual(says("exact", 0));
      },
    );

    test("keeps its state to itself: whoever reads the lock could hold it for ever", async () => {
      const { host, url } = await setUp();
      const state = join(host, "var/lib/kmodfarm");
      const modes = async () =>
        Promise.all([state, join(state, "lock")].map(async (path) => (await stat(path)).mode & 0o777));
      await ask(host, [url]);
      expect(await modes()).toEqual([0o700, 0o600]);
      await chmod(state, 0o755);
      await chmod(join(state, "lock"), 0o644);
      await ask(host, [url]);
      expect(await modes()).toEqual([0o700, 0o600]);
    });

    test("does not wait for a pipe in a directory of a registry", async () => {
      const { host, url } = await setUp();
      await mkdir(join(url, "metadata/root"), { recursive: true });
      execFileSync("mkfifo", [join(url, "metadata/root/2")]);

      expect((await ask(host, [url])).word).toBe("unreachable");
    });

    test.each([
      [{ kind: "building" }, says("building", 1)],
      [
        { kind: "failed", why: "too few arguments" },
        says("failed", 1, expect.stringContaining("too few arguments")),
      ],
      [{ kind: "excluded", why: "no doors" }, says("excluded", 1, expect.stringContaining("no doors"))],
      [{ kind: "withheld", why: "load: fail" }, says("withheld", 1, expect.stringContaining("load: fail"))],
    ] as const)("says why there is nothing: $kind", async (answer, expected) => {
      const { host, place, url } = await setUp(async () => [blockOf(answer)]);

      expect(await ask(host, [url])).toEqual(expected);
      expect(await inPlace(place)).toBeUndefined();
    });

    test("D26 another build of the same release is not this kernel; words of uname -v are, several are nothing", async () => {
      const { host, place, registry, url } = await setUp();
      const answer = await given(registry);
      const other = { packageVersion: "6.1.170-4" };
      const says4 = { kind: "uname", text: UNAME.version.replace("-3", "-4") } as const;
      const words = { kind: "unameword", text: "Debian 6.1.170-3" } as const;
      const cases: [string, NodeBlock[]][] = [
        ["neverSeen", [blockOf(answer, { uname: says4 })]],
        ["neverSeen", [blockOf(answer, { uname: undefined })]],
        ["neverSeen", [blockOf(answer, { uname: { kind: "unameword", text: "Debian 6.1.170" } })]],
        ["neverSeen", [blockOf(answer, { release: "6.1.0-57-amd64" })]],
        ["ambiguous", [blockOf(answer), blockOf(answer, other)]],
        [
          "exact",
          [blockOf(answer, { uname: words }), blockOf({ kind: "building" }, { ...other, uname: says4 })],
        ],
        ["building", [blockOf(answer, { uname: words }), blockOf({ kind: "building" }, other)]],
      ];
      for (const [word, blocks] of cases) {
        await registry.publish(blocks);
        expect((await ask(host, [url])).word).toBe(word);
      }
      // A near miss is taken away: what is in place was for a build that does not run any more.
      await registry.publish([blockOf(answer)]);
      await ask(host, [url]);
      await writeFile(join(host, "proc/sys/kernel/version"), `${says4.text}\n`);
      expect(await ask(host, [url])).toEqual(says("neverSeen", 1, expect.not.stringContaining("answer")));
      expect(await inPlace(place)).toBeUndefined();
      await rm(registry.directory, { recursive: true });
      expect(await ask(host, [url])).toEqual(
        says("neverSeen", 1, expect.stringContaining(`${url} does not answer`)),
      );
    });

    if (extent === "brief") return;

    test("a root file that is not there is no attack: the answer says what to put there", async () => {
      const { host, place, url } = await setUp();

      for (const root of ["/nope", host])
        expect(await ask(host, [url], "--root", root)).toEqual(
          says(
            "unreachable",
            3,
            expect.stringContaining(`the root file ${root} is missing or cannot be read`),
          ),
        );
      await rm(join(host, "etc/kmodfarm/root"));
      expect(await ask(host, [url])).toEqual(
        says("unreachable", 3, expect.stringContaining("etc/kmodfarm/root is missing")),
      );
      expect(await inPlace(place)).toBeUndefined();
    });

    test("what is denied or below the floor goes, even where nothing else is given", async () => {
      const { host, place, registry, url } = await setUp();
      const why = "CVE-2026-1234";
      const denied = [{ module: sha256(ALL_OF_ONE["tally.ko"]), why }];
      await ask(host, [url]);
      await registry.publish([blockOf({ kind: "withheld", why }, { denied })]);

      expect(await indexed(host)).toEqual(["updates/kmodfarm/doorbell/doorbell.ko"]);
      expect(await ask(host, [url])).toEqual(says("denied", 1, expect.stringContaining(why)));
      expect(await inPlace(place)).toBeUndefined();
      expect(await indexed(host)).toEqual([]);
      await registry.publish([blockOf(await given(registry), { denied })]);
      expect(await ask(host, [url])).toEqual(says("denied", 1));
      await registry.publish([blockOf(await given(registry))], { floor: "0.1.10" });
      expect(await ask(host, [url])).toEqual(says("denied", 1, expect.stringContaining("0.1.10")));
      await registry.publish([blockOf(await given(registry))], { floor: "0.1.1" });
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("D26 what any block of its release denies goes, whatever the answer is", async () => {
      const { host, place, registry, url } = await setUp();
      const denied = [{ module: sha256(ALL_OF_ONE["tally.ko"]), why: "CVE-2026-1234" }];
      const says4 = { kind: "uname", text: UNAME.version.replace("-3", "-4") } as const;
      const other = blockOf({ kind: "building" }, { packageVersion: "6.1.170-4", uname: says4, denied });
      const silent = { ...other, uname: undefined };
      const exact = await given(registry);
      const twin = { distribution: "debian99" };
      const cases: NodeBlock[][] = [
        [blockOf(exact), blockOf({ kind: "failed", why: "no" }, twin), silent],
        [other],
        [blockOf({ kind: "withheld", why: "no" }), other],
        [blockOf(exact), other],
      ];
      for (const blocks of cases) {
        await registry.publish([blockOf(exact)]);
        expect((await ask(host, [url])).word).toBe("exact");
        await registry.publish(blocks);

        expect(await ask(host, [url])).toEqual(says("denied", 1, expect.stringContaining("CVE-2026-1234")));
        expect(await inPlace(place)).toBeUndefined();
      }
    });

    test.each<[string, (genuine: CatalogKernel) => readonly CatalogKernel[], boolean]>([
      ["a list with the same words", (genuine) => [strangeKernel(genuine)], false],
      ["a boot image with the same words", (genuine) => [strangeKernel(genuine, "6.6.6-1")], true],
      [
        "400 kernels of one list",
        (genuine) =>
          Array.from({ length: 400 }, (_, at) => strangeKernel(genuine, `6.1~${"x".repeat(60)}${at}`)),
        false,
      ],
    ])(
      "D26 %s takes neither modules nor a denial from a genuine kernel",
      async (_, strangersOf, haveImages) => {
        const store = await openFolderStore(await temporaryDirectory());
        await putRoot(store, firstRoot());
        const genuine = makeKernel({ kversion: UNAME.release, architecture: UNAME.machine as "x86_64" });
        const content = `\0vermagic=${UNAME.release} SMP \0`;
        const strangers = strangersOf(genuine);
        const outcomes = [genuine, ...strangers].map((kernel) => {
          const { kversion, packageVersion, architecture, distribution } = kernel;
          const element = makeElement({ kversion, packageVersion, architecture, distribution });
          if (kernel === genuine)
            return makeOutcome(element, { artifact: { entry: makeEntry(element, content), isStable: true } });
          const failure = { code: "BUILD_FAILED", blame: "source", cause: "no", line: "" } as const;
          return { element, note: { ...makeOutcome(element).note, failure }, isSettled: true };
        });
        await putBlobs(store, outcomes[0]?.element ?? makeElement(), content);
        const facts = haveImages
          ? strangers.flatMap((one) => imageFacts(one, { version: UNAME.version }) ?? [])
          : [];
        const state = nextState(NOTHING, makeCatalog([genuine, ...strangers]), outcomes, { facts });
        await publishSigned(store, state, { now: new Date() });
        const host = await makeHost();
        const asked = () => ask(host, [store.place], "--to", join(host, "to"));

        expect(await asked()).toEqual(says("exact", 0));
        const { driver, output, recipe, modules } = state.indices[0]?.stable[0] ?? makeEntry(makeElement());
        const denied = { modules: modules.map(({ digest }) => digest), kernels: [kernelName(genuine)] };
        const decision: Decision = {
          ...{ at: "2026-11-28T00:00:00.000Z", action: "withdraw", artifact: { driver, output, recipe } },
          ...{ by: "ann", why: "CVE-2026-1234", verdicts: [], denied },
        };
        await publishSigned(store, { ...state, decisions: [decision] }, { now: new Date() });
        expect(await asked()).toEqual(says("denied", 1));
        expect(await inPlace(join(host, "to"))).toBeUndefined();
      },
    );

    test("D27, D28 a rollback, a fork, and a head that has expired bring nothing new and take nothing away", async () => {
      const { host, place, registry, url } = await setUp();
      const one = [blockOf(await given(registry))];
      const two = [blockOf(await given(registry, TWO))];
      await registry.publish(one, { serial: 7, generation: 5 });
      await ask(host, [url]);
      const attacks: [string, Parameters<NodeRegistry["publish"]>[1]][] = [
        ["integrity", { serial: 6, generation: 6 }],
        ["integrity", { serial: 8, generation: 4 }],
        ["integrity", { serial: 7, generation: 5 }],
        ["exact", { serial: 9, issued: daysFromNow(-9), expires: daysFromNow(-2) }],
      ];
      for (const [word, changes] of attacks) {
        await registry.publish(two, changes);
        expect((await ask(host, [url])).word).toBe(word);
        expect(await inPlace(place)).toEqual(ALL_OF_ONE);
      }
      const fresh = await makeHost();
      expect(await ask(fresh, [url])).toEqual(says("stale", 3));
      expect(await inPlace(join(fresh, SETS))).toBeUndefined();
    });

    test("finds its line in a head of 2,000 drivers and machines", async () => {
      const { host, registry, url } = await setUp();
      const others = Array.from({ length: 1999 }, (_, at) => `${at % 2 ? "a" : "z"}${at}`.padEnd(100, "x"));
      await registry.publish([blockOf(await given(registry))], { others });

      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("a clock before the last head proves nothing to be fresh", async () => {
      const { host, place, registry, url } = await setUp();
      await registry.publish([blockOf(await given(registry))], { issued: daysFromNow(1) });
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))], { issued: daysFromNow(1) });

      expect((await ask(host, [url])).sentence).toContain("clock");
      expect(await inPlace(place)).toEqual(ALL_OF_ONE);
      // Whoever signs an earlier time later has found that the clock of then was wrong.
      await registry.publish([blockOf(await given(registry, TWO))]);
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect(await inPlace(place)).toEqual(ALL_OF_TWO);
    });

    test("follows roots, whose keys end with them", async () => {
      const { host, registry, url } = await setUp();
      const [root2, head2] = [makeTestKey(), makeTestKey()];
      await putRoot(registry.store, rootAt(2, [root2], [head2], { expires: "2020-01-01T00:00:00Z" }), [
        ROOT_KEY,
        root2,
      ]);
      await putRoot(registry.store, rootAt(3, [root2], [head2]), [root2]);

      expect(await ask(host, [url])).toEqual(says("integrity", 4, expect.stringContaining("head")));
      await registry.publish([blockOf(await given(registry))], { keys: [head2] });
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      await rm(join(registry.directory, "metadata/root/3"));
      await registry.publish([blockOf(await given(registry, TWO))]);
      expect(await ask(host, [url])).toEqual(says("integrity", 4));
    });

    test("B14 reads roots and heads with a log, which never shrinks and never goes again", async () => {
      const { host, place, registry, url } = await setUp();
      const [log, witness] = [makeTestKey("ed25519"), makeTestKey("ed25519")];
      const withLog = trustWithLog(rootAt(2), [log], [witness]);
      const state = (size: number) => ({ log: { size, root: entryHash(Buffer.from([size])) } });
      const publish = async (content: object, changes: object) =>
        registry.publish([blockOf(await given(registry, content))], changes);
      const bad = says("integrity", 4, expect.stringContaining("log"));
      await ask(host, [url]);
      await putRoot(registry.store, withLog);

      expect(await ask(host, [url])).toEqual(bad);
      await publish(TWO, state(7));
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      for (const changes of [state(6), {}]) {
        await publish({}, changes);
        expect(await ask(host, [url])).toEqual(bad);
        expect(await inPlace(place)).toEqual(ALL_OF_TWO);
      }
      await publish({}, state(7));
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("B15 refuses what a strict reader refuses of roots and heads with a log", async () => {
      const { host, registry, url } = await setUp();
      const [log, witness] = [makeTestKey("ed25519"), makeTestKey("ed25519")];
      const texts = {
        root: writeTrust(trustWithLog(rootAt(2), [log], [witness])),
        head: writeHead({
          ...{ origin: ORIGIN, serial: 9, issued: "2026-01-01T00:00:00Z", expires: "2030-01-01T00:00:00Z" },
          generation: { number: 9, digest: sha256("a generation") },
          log: { size: 3, root: entryHash(Buffer.from("x")) },
          indices: [],
        }),
      };
      const reads = {
        root: (text: string) => readTrust(text, "root"),
        head: (text: string) => readHead(text, "head"),
      };
      const variants = (text: string) => [
        text.replace(" v2", " v1"),
        text.replace(" v2", " v3"),
        text.replace(/^(role log \d) .*/m, "$1"),
        text.replace(/^role log.*\n/m, ""),
        text.replace(/^role witness.*\n/m, ""),
        text.replace(/^(role (?:log|head) 1) .*/gm, "$1"),
        text.replace(/^role log 1 (.*)\nrole witness 1 (.*)/m, "role log 1 $2\nrole witness 1 $2"),
        text.replace(/^role head 1 (.*)\nrole log 1 (.*)/m, "role head 1 $2\nrole log 1 $1"),
        text.replace(/^log.*\n/m, ""),
        text.replace(/^log (.*)\n/m, "log $1\nlog $1\n"),
        text.replace("log 3", "log 03"),
        text.replace(/^(log 3 .*)=$/m, "$1"),
        text.replace(/^(log 3 .*).=$/m, "$1B="),
      ];
      for (const form of ["root", "head"] as const)
        for (const text of variants(texts[form])) {
          if (text === texts[form]) continue;
          const path = form === "root" ? "metadata/root/2" : HEAD_PATH;
          const isGood = isRead(() => reads[form](text));
          // A root that may be read is for another test.
          if (isGood) continue;
          await registry.store.write(path, writeNote(signed(text, ORIGIN, [ROOT_KEY, HEAD_KEY])));
          expect(await ask(host, [url]), text).toEqual(says("integrity", 4));
          await registry.store.remove("metadata/root/2");
        }
    });

    test("C17, C18 a root by old or new keys alone, one key twice for a threshold, another origin or version", async () => {
      const { host, place, registry, url } = await setUp();
      const other = makeTestKey();
      const both = rootAt(2, [ROOT_KEY, other], [HEAD_KEY], { threshold: 2 });
      const bad: [ReturnType<typeof rootAt>, (typeof ROOT_KEY)[]][] = [
        [rootAt(2, [other]), [other]],
        [rootAt(2, [other]), [ROOT_KEY]],
        [both, [ROOT_KEY]],
        [both, [ROOT_KEY, ROOT_KEY]],
        [rootAt(3), [ROOT_KEY]],
        [rootAt(2, [ROOT_KEY], [HEAD_KEY], { origin: "other.example" }), [ROOT_KEY]],
      ];
      for (const [trust, keys] of bad) {
        await registry.store.write("metadata/root/2", rootText(trust, keys));
        expect(await ask(host, [url])).toEqual(says("integrity", 4, expect.stringContaining("root 2")));
      }
      expect(await inPlace(place)).toBeUndefined();
      await registry.store.write("metadata/root/2", rootText(both, [ROOT_KEY, other]));
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("D29, D30, D34 bytes of another digest, or built for another kernel, never get into place", async () => {
      const { host, place, registry, url } = await setUp();
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))]);
      for (const content of [
        ALL_OF_ONE["tally.ko"],
        ALL_OF_TWO["tally.ko"].subarray(0, 99),
        Buffer.alloc(0),
      ]) {
        await registry.store.write(blobPath(sha256(ALL_OF_TWO["tally.ko"])), content);
        expect(await ask(host, [url])).toEqual(says("integrity", 4));
        expect(await inPlace(place)).toEqual(ALL_OF_ONE);
      }
      const foreign = Buffer.from(
        ALL_OF_ONE["tally.ko"].toString("latin1").replace("=6.1.0-56", "=6.1.0-55"),
        "latin1",
      );
      await registry.publish([
        blockOf(await given(registry, { modules: [{ file: "tally.ko", content: foreign }] })),
      ]);
      expect(await ask(host, [url])).toEqual(says("integrity", 4, expect.stringContaining("6.1.0-55")));
      // What is damaged in place is put right.
      await registry.publish([blockOf(await given(registry))]);
      await writeFile(join(place, "doorbell/tally.ko"), "damaged");
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect(await inPlace(place)).toEqual(ALL_OF_ONE);
    });

    test("where sets of modules are demanded, each module is in one that the node trusts, and has its proof beside it", async () => {
      const { host, place, registry, url } = await setUp();
      const file = join(host, "etc/kmodfarm/sets");
      const [good, swapped] = [
        await provenBy(registry, ALL_OF_ONE),
        await provenBy(registry, ALL_OF_ONE, true),
      ];
      const root = setRoot(good.tree.root);
      const other = `${"5".repeat(64)}/2`;
      const publish = async (proven?: Proven, changes = {}) =>
        registry.publish([
          blockOf(await given(registry, { ...(proven === undefined ? {} : { proven }), ...changes })),
        ]);
      const refused = (fact: string) => says("integrity", 4, expect.stringContaining(fact));
      const none = "leads to none of their roots";
      const cases: [string, Proven | undefined, Said][] = [
        ["registry", undefined, refused("the registry has no proof of it")],
        ["registry\n", swapped, refused(none)],
        [`# of nobody\n${other} another farm's\n`, good, refused(none)],
        [root.replace("/2", "/3"), good, refused(none)],
        ["5555/2\n", good, refused("is neither a root")],
      ];
      for (const [text, proven, said] of cases) {
        await publish(proven);
        await writeFile(file, text);
        expect(await ask(host, [url])).toEqual(said);
        expect(await inPlace(place)).toBeUndefined();
      }
      const proofs = () =>
        Promise.all(
          Object.keys(ALL_OF_ONE).map((name) => readFile(join(place, "doorbell", `${name}.merkle`))),
        );
      const expected = Object.keys(ALL_OF_ONE).map((_, at) => writeProof(good.tree.proof(at + 1)));
      for (const text of ["registry", `${other}\n${root} this one\n`]) {
        await rm(join(place, "doorbell"), { force: true });
        await publish(good);
        await writeFile(file, text);
        expect(await ask(host, [url])).toEqual(says("exact", 0));
        expect(await proofs()).toEqual(expected);
        // What is in place is judged too, with the registry at hand or without.
        await writeFile(join(place, "doorbell/tally.ko.merkle"), "damaged");
        expect(await ask(host, [], "--offline")).toEqual(says("exact", 0));
        expect(await proofs()).toEqual(expected);
        await writeFile(file, other);
        expect(await ask(host, [url])).toEqual(refused(none));
      }
      // Modules of others may come with a signature, which no set covers.
      const signature = Buffer.from("a signature");
      const content = Buffer.concat([moduleOf("three"), signature, signatureTrailer(signature, "pkcs7")]);
      await publish(await provenBy(registry, { "doorbell.ko": content }), {
        modules: [{ file: "doorbell.ko", content }],
      });
      await writeFile(file, "registry");
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect(await inPlace(place)).toEqual({ "doorbell.ko": content });
    });

    test("where signatures are enforced, a module has the one whose key is enrolled, or the key is named", async () => {
      const [known, other] = [
        "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1",
        "8e9c000000000000000000000000000000000001",
      ];
      const { host, place, url } = await setUp(async (registry) => [
        blockOf(
          await given(registry, {
            signatures: [
              ...[other, known].map((keyId) => ({ file: "doorbell.ko", keyId, content: `by ${keyId}` })),
              { file: "tally.ko", keyId: known, content: "tally's" },
            ],
          }),
        ),
      ]);
      await writeFile(join(host, "sys/kernel/security/lockdown"), "none [integrity] confidentiality\n");

      expect(await ask(host, [url])).toEqual(says("cannotLoad", 3, expect.stringContaining(known as string)));
      expect(await inPlace(place)).toBeUndefined();
      await writeFile(
        join(host, "proc/keys"),
        `109b3b63 I------     1 perm 1f030000     0     0 asymmetri Some CA: ${known}: X509.rsa bb419ea1 []\n`,
      );
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect((await inPlace(place))?.["doorbell.ko"]).toEqual(
        Buffer.concat([ALL_OF_ONE["doorbell.ko"], Buffer.from(`by ${known}`)]),
      );
    });

    test("--kernel RELEASE --ready reads what the next kernel will say", async () => {
      const next = { release: UNAME.release, version: UNAME.version.replace("-3", "-9") };
      const { host, url } = await setUp(async (registry) => [
        blockOf(await given(registry), { uname: { kind: "uname", text: next.version } }),
      ]);
      const image = join(host, `boot/vmlinuz-${next.release}`);
      const ready = () => ask(host, [url], "--kernel", next.release, "--ready");

      expect(await ready()).toEqual(says("unreachable", 3, expect.stringContaining("boot")));
      const setup = Buffer.alloc(4096);
      setup.write("HdrS", 514);
      setup.writeUInt16LE(2048, 526);
      setup.write(`${next.release} (builder@example) ${next.version}\0`, 2560);
      await writeFile(image, setup);
      expect(await ready()).toEqual(says("exact", 0));
      await writeFile(
        image,
        `\0Linux version %s\0Linux version ${next.release} (b@e) (gcc (GCC) 12, GNU ld (B) 2.40) ${next.version}\n\0`,
      );
      expect(await ready()).toEqual(says("exact", 0));
      // As Fedora's packages have it, and Debian's from 14 on.
      await mkdir(join(host, "lib/modules", next.release), { recursive: true });
      await rename(image, join(host, "lib/modules", next.release, "vmlinuz"));
      expect(await ready()).toEqual(says("exact", 0));
    });

    test("sets of kernels that were removed go, and of those that are there stay", async () => {
      const { host, url } = await setUp();
      const at = (path: string) => join(host, "lib/modules", path);
      // A package manager leaves a directory that something of others is in.
      for (const release of ["6.1.0-50-amd64", "6.1.0-55-amd64"]) {
        await mkdir(at(`.kmodfarm/${release}/doorbell/0`), { recursive: true });
        await mkdir(at(`${release}/updates/kmodfarm`), { recursive: true });
        await symlink(`../../../.kmodfarm/${release}/doorbell/0`, at(`${release}/updates/kmodfarm/doorbell`));
      }
      await mkdir(at("6.1.0-55-amd64/kernel"));
      await writeFile(at("6.1.0-55-amd64/updates/of-others.ko"), "");
      await mkdir(at(`.kmodfarm/${running()}/doorbell/0`), { recursive: true });
      await mkdir(at("6.1.0-40-amd64/updates"), { recursive: true });
      const folder = join(host, "to");

      expect(await ask(host, [url], "--to", folder)).toEqual(says("exact", 0));
      expect(await readdir(at(".kmodfarm"))).toContain("6.1.0-50-amd64");
      expect(await ask(host, [url])).toEqual(says("exact", 0));
      expect((await readdir(at(".kmodfarm"))).toSorted()).toEqual(
        ["6.1.0-55-amd64", UNAME.release, running()].toSorted(),
      );
      expect((await readdir(at("."))).toSorted()).toEqual(
        [".kmodfarm", "6.1.0-40-amd64", "6.1.0-55-amd64", UNAME.release].toSorted(),
      );
      expect((await readdir(at("6.1.0-55-amd64/updates"))).toSorted()).toEqual(["kmodfarm", "of-others.ko"]);
    });

    test("--load says before anything else that the kernel takes no modules; --json says it to programs", async () => {
      const { host, place, url } = await setUp();
      await writeFile(join(host, "proc/sys/kernel/modules_disabled"), "1\n");

      expect(await ask(host, [url], "--load")).toEqual(
        says("cannotLoad", 3, expect.stringContaining("modules_disabled")),
      );
      expect(await inPlace(place)).toBeUndefined();
      const { word } = await ask(host, [url], "--load", "--json");
      expect(JSON.parse(word)).toEqual({
        ...{ schema: "kmodfarm.fetched/1", answer: "cannotLoad" },
        sentence: expect.stringContaining("modules_disabled"),
      });
    });

    test("what cannot be written is said, and the last good set stays", async () => {
      const { host, place, registry, url } = await setUp();
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))]);
      const slot = join(host, `lib/modules/.kmodfarm/${UNAME.release}/doorbell/1`);
      await rm(slot, { recursive: true, force: true });
      await writeFile(slot, "");
      await rm(join(place, "doorbell"));
      await mkdir(join(place, "doorbell"));

      expect(await ask(host, [url])).toEqual(says("cannotWrite", 3));
      expect(await ask(host, [url], "--state", "/proc/none")).toEqual(says("cannotWrite", 3));
      await writeFile(join(host, "etc/kmodfarm/root"), rootNote().replace("version 1", "version 2"));
      expect(await ask(host, [url])).toEqual(says("integrity", 4));
    });

    if (extent === "short") return;

    test("B15 signatures of others are passed over; false ones, and other forms of a note, are refused", async () => {
      const { host, place, registry, url } = await setUp();
      const good = (await registry.store.read(HEAD_PATH))?.toString() ?? "";
      const [text = "", line = ""] = good.split("\n\n");
      const stranger = "— other.example AAAAAAAAAAAA\n";
      const changed = signed(text, ORIGIN, [makeTestKey()]);
      const foreign = Buffer.from(changed.signatures[0]?.signature ?? []);
      const keyId = Buffer.from(line.split(" ")[2] ?? "", "base64").subarray(0, 4);
      const lie = `— ${ORIGIN} ${Buffer.concat([keyId, foreign]).toString("base64")}\n`;
      const bad = [
        `${good}${lie}`,
        good.replace("serial 1", "serial 2"),
        good.replace("\n\n", "\nserial 2\n\n"),
        good.replace("\n\n", "\n\n\n"),
        good.replaceAll("\n", "\r\n"),
        good.replace("head v1", "head v1\0"),
        good.slice(0, -1),
        good.slice(0, good.indexOf("\n\n") + 2),
        good.replace(`— ${ORIGIN} `, `— ${ORIGIN}x `),
        `${good}${stranger.repeat(16)}`,
        `${good}x\n`,
        "x".repeat(1 << 15),
        "",
      ];
      for (const head of bad) {
        await registry.store.write(HEAD_PATH, head);
        expect(["integrity", "unreachable"]).toContain((await ask(host, [url])).word);
      }
      expect(await inPlace(place)).toBeUndefined();
      await registry.store.write(HEAD_PATH, `${text}\n\n${stranger}${line}`);
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("C19 to C21, D31, D32 a signed index of another form is refused: doubled, swapped, cut, `..`", async () => {
      const { host, place, registry, url } = await setUp();
      const signatures = [{ file: "tally.ko", keyId: "00112233", content: "p7s" }];
      const denied = [{ module: sha256("other"), why: "old" }];
      const leaf = leafOf([blockOf(await given(registry, { signatures }), { denied })]);
      const all = [...changedLines(leaf)].filter(({ changed }) => faultOfLeaf(changed) !== undefined);
      const random = randomFrom(20);
      const some = Array.from(
        { length: isThorough ? 40 : 2 },
        () => all[random(all.length)]?.changed.toString("latin1") ?? "",
      );
      for (const changed of [
        ...some,
        leaf.replace("module doorbell.ko", "module ../doorbell.ko"),
        leaf.replace("module doorbell.ko", "module tally.ko"),
        leaf.replace(/answer .*\n/, "$&$&"),
        `${leaf}${leaf.split("\n").slice(2).join("\n")}`,
        leaf.replace(/ [0-9a-f]{64}/, (digest) => digest.toUpperCase()),
        leaf + Array.from({ length: 256 }, (_, at) => `deny ${"f".repeat(60)}${4096 + at} no\n`).join(""),
      ]) {
        await registry.publishLeaf(changed);
        expect([changed, await ask(host, [url])]).toEqual([changed, says("integrity", 4)]);
      }
      expect(await inPlace(place)).toBeUndefined();
      await registry.publishLeaf(leaf);
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

    test("downloads that trickle, break off or never end are unreachable, and the next mirror is asked", async () => {
      const { host, registry, url } = await setUp();
      let manner: "trickle" | "break" | "endless" = "trickle";
      const server = await startServer((request, response) => {
        if (request.url !== "/metadata/head") return void serveFile(registry, request, response);
        if (manner === "break")
          return void response.writeHead(200, { "content-length": 999 }).write("kmodfarm head v1\n", () => {
            request.socket.destroy();
          });
        const drip = setInterval(() => response.write(manner === "endless" ? "x".repeat(9999) : "k"), 20);
        response.on("close", () => clearInterval(drip));
      });
      for (manner of ["trickle", "break", "endless"] as const)
        expect(await ask(host, [server.url])).toEqual(says("unreachable", 3));
      expect(await ask(host, [server.url, url])).toEqual(says("exact", 0));
    });

    test("D36 two at once, and kill -9 at any moment: one whole set or the other, and the next one ends well", async () => {
      const { host, place, registry, url } = await setUp();
      await ask(host, [url]);
      const random = randomFrom(36);
      for (let turn = 0; turn < (isThorough ? 30 : 3); turn++) {
        const next = turn % 2 === 0 ? ALL_OF_TWO : ALL_OF_ONE;
        await registry.publish([blockOf(await given(registry, turn % 2 === 0 ? TWO : {}))]);
        const child = startClient(client, host, [url]);
        const gone = once(child, "exit");
        await new Promise((resolve) => setTimeout(resolve, random(workMs)));
        child.kill("SIGKILL");
        await gone;
        expect([ALL_OF_ONE, ALL_OF_TWO]).toContainEqual(await inPlace(place));
        if (turn % 3 < 2) continue;
        expect(await Promise.all([ask(host, [url]), ask(host, [url])])).toEqual([
          says("exact", 0),
          says("exact", 0),
        ]);
        expect(await inPlace(place)).toEqual(next);
      }
      const left = (await readdir(join(host, "var/lib/kmodfarm"))).filter((one) => one.startsWith("work"));
      expect(left.length).toBeLessThanOrEqual(1);
    });
  });
}
