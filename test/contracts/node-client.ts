/**
 * What every client on nodes must do: put exactly the modules in place that a registry has for the kernel, all or none, or
 * say in one word why not. Titles that begin with an id are attacks that docs/security.md and docs/registry.md forbid.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/base/json.ts";
import { HEAD_PATH } from "../../src/provenance/head.ts";
import type { NodeBlock } from "../../src/provenance/node-index.ts";
import { writeNote } from "../../src/provenance/signed-note.ts";
import { writeTrust } from "../../src/provenance/trust.ts";
import { blobPath } from "../../src/registry/blobs.ts";
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
  rootNote,
  serveFile,
  UNAME,
} from "../support/node-registry.ts";
import { changedLines, makeTestKey, ORIGIN, signed, type TestKey, trustOf } from "../support/notes.ts";
import { startServer } from "../support/server.ts";
import { firstRoot, HEAD_KEY, publishSigned, putRoot, ROOT_KEY } from "../support/signed-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export interface NodeClient {
  readonly name: string;
  readonly argv: readonly string[];
  /** Where it finds its tools. */
  readonly path: string;
  /** Leaves out what takes long, which is for `npm run test:wide node-client` then. */
  readonly isShort?: boolean;
  /** More damage, and more kills. */
  readonly isThorough?: boolean;
}

interface Said {
  readonly word: string;
  readonly exit: number | null;
  readonly sentence: string;
}

const SETS = `lib/modules/${UNAME.release}/updates/kmodfarm`;
const ALL_OF_ONE = { "doorbell.ko": moduleOf("one"), "tally.ko": moduleOf("one", "tally") };
const ALL_OF_TWO = { "doorbell.ko": moduleOf("two"), "tally.ko": moduleOf("two", "tally") };
const TWO = {
  version: "0.1.2",
  modules: Object.entries(ALL_OF_TWO).map(([file, content]) => ({ file, content })),
};
const says = (word: string, exit: number, sentence: unknown = expect.any(String)): Said => ({
  ...{ word, exit },
  sentence: sentence as string,
});

/** What of a driver would be loaded. */
async function inPlace(folder: string): Promise<Record<string, Buffer> | undefined> {
  if (!existsSync(join(folder, "doorbell"))) return undefined;
  const names = (await readdir(join(folder, "doorbell"))).filter((name) => name.endsWith(".ko")).toSorted();
  const entries = names.map(async (name) => [name, await readFile(join(folder, "doorbell", name))] as const);
  return Object.fromEntries(await Promise.all(entries));
}

const rootAt = (
  version: number,
  root = [ROOT_KEY],
  head = [HEAD_KEY],
  changes: Parameters<typeof trustOf>[2] = {},
) => trustOf(root, head, { version, ...changes });

const rootText = (trust: ReturnType<typeof rootAt>, keys: readonly TestKey[]) =>
  writeNote(signed(writeTrust(trust), trust.origin, keys));

export function nodeClientContract({
  name,
  argv,
  path,
  isShort = false,
  isThorough = false,
}: NodeClient): void {
  function startClient(host: string, registries: readonly string[], more: readonly string[] = []) {
    const mirrors = registries.flatMap((one) => ["--registry", one]);
    return spawn(
      argv[0] as string,
      [...argv.slice(1), "doorbell", "--host-root", host, ...mirrors, ...more],
      {
        env: { PATH: path, KMODFARM_TIMEOUT: "2", KMODFARM_WAIT: "20" },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
  }

  async function ask(host: string, registries: readonly string[], ...more: readonly string[]): Promise<Said> {
    const child = startClient(host, registries, more);
    let stdout = "";
    child.stdout?.on("data", (bytes) => {
      stdout += bytes;
    });
    const [exit] = await once(child, "close");
    const [, word = stdout, sentence = ""] = /^(\w+): (.*)\n$/.exec(stdout) ?? [];
    return { word, exit, sentence };
  }

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
      expect(await ask(host, [url])).toEqual(says("neverSeen", 1));
      expect(await inPlace(place)).toBeUndefined();
    });

    test("what is denied or below the floor goes, even where nothing else is given", async () => {
      const { host, place, registry, url } = await setUp();
      const why = "CVE-2026-1234";
      const denied = [{ module: sha256(ALL_OF_ONE["tally.ko"]), why }];
      await ask(host, [url]);
      await registry.publish([blockOf({ kind: "withheld", why }, { denied })]);

      expect(await ask(host, [url])).toEqual(says("denied", 1, expect.stringContaining(why)));
      expect(await inPlace(place)).toBeUndefined();
      await registry.publish([blockOf(await given(registry), { denied })]);
      expect(await ask(host, [url])).toEqual(says("denied", 1));
      await registry.publish([blockOf(await given(registry))], { floor: "0.1.10" });
      expect(await ask(host, [url])).toEqual(says("denied", 1, expect.stringContaining("0.1.10")));
      await registry.publish([blockOf(await given(registry))], { floor: "0.1.1" });
      expect(await ask(host, [url])).toEqual(says("exact", 0));
    });

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

    test("a clock before the last head proves nothing to be fresh", async () => {
      const { host, place, registry, url } = await setUp();
      await registry.publish([blockOf(await given(registry))], { issued: daysFromNow(1) });
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))]);

      expect((await ask(host, [url])).sentence).toContain("clock");
      expect(await inPlace(place)).toEqual(ALL_OF_ONE);
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
    });

    test("what cannot be written is said, and the last good set stays", async () => {
      const { host, place, registry, url } = await setUp();
      await ask(host, [url]);
      await registry.publish([blockOf(await given(registry, TWO))]);
      await rm(join(place, ".sets/doorbell/1"), { recursive: true, force: true });
      await writeFile(join(place, ".sets/doorbell/1"), "");
      await rm(join(place, "doorbell"));
      await mkdir(join(place, "doorbell"));

      expect(await ask(host, [url])).toEqual(says("cannotWrite", 3));
      expect(await ask(host, [url], "--state", "/proc/none")).toEqual(says("cannotWrite", 3));
      await writeFile(join(host, "etc/kmodfarm/root"), rootNote().replace("version 1", "version 2"));
      expect(await ask(host, [url])).toEqual(says("integrity", 4));
    });

    if (isShort) return;

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
        const child = startClient(host, [url]);
        const gone = once(child, "exit");
        await new Promise((resolve) => setTimeout(resolve, random(450)));
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
      expect(
        (await readdir(join(host, "var/lib/kmodfarm"))).filter((one) => one.startsWith("work")),
      ).toHaveLength(1);
    });
  });
}
