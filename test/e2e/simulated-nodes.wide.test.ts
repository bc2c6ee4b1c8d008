/**
 * Every kernel that Debian's archive has today, as a node that runs it: in the words of its own boot image, with the
 * os-release of its release or of a container. Each gets the modules of that very build. Of an image package no more is
 * fetched than its beginning, where the boot image is; what that said is kept by the package's digest. KMODFARM_NODES
 * limits how many boot images are asked (default: all).
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import PQueue from "p-queue";
import { beforeAll, expect, test } from "vitest";
import { unpackWhole } from "../../src/base/decompress.ts";
import { sha256 } from "../../src/base/json.ts";
import { urlOf } from "../../src/base/url.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import type { CatalogKernel } from "../../src/catalog/catalog.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { type Farm, openFarm } from "../../src/farm/open.ts";
import { readBanner, versionInBanner } from "../../src/formats/vmlinuz.ts";
import { packageFormat } from "../../src/inputs/package-format.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { imageFacts, type KernelFacts } from "../../src/kernel/facts.ts";
import { kernelName, type Package } from "../../src/kernel/kernel.ts";
import { isSameEverywhere } from "../../src/kernel/node.ts";
import type { NodeQuestion } from "../../src/provenance/node-index.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { nextState } from "../../src/registry/publish.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import type { Store } from "../../src/registry/stores/store.ts";
import { askClient, inPlace } from "../contracts/node-client.ts";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../support/artifacts.ts";
import { cli } from "../support/e2e-farm.ts";
import { TEST_CACHE } from "../support/e2e-mirror.ts";
import { makeElement } from "../support/elements.ts";
import { CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { makeHost } from "../support/node-registry.ts";
import { askRegistry, firstRoot, publishSigned, putRoot } from "../support/signed-store.ts";
import { sharedDirectory, temporaryDirectory } from "../support/temporary.ts";

const RELEASES = ["debian11", "debian12", "debian13", "debian14", "debiansid"];
const MOST = Number(process.env.KMODFARM_NODES ?? Number.POSITIVE_INFINITY);
const place = sharedDirectory();

interface Live {
  readonly kernel: CatalogKernel;
  /** `uname -v`, as its boot image says it. */
  readonly version: string;
}
const found: { kernels: readonly CatalogKernel[]; live: Live[]; missing: number; farm?: Farm } = {
  ...{ kernels: [], live: [], missing: 0 },
};

const IMAGE = /^boot\/vmlinuz-[^/]+$/;
const WORDS = join(TEST_CACHE, "boot-words");

/** `uname -v` of the kernel in a package. Nobody compares digests here: a wrong byte of a mirror would be a wrong answer. */
async function versionOf(image: Package, mirrors: readonly string[]): Promise<string | undefined> {
  const kept = join(WORDS, image.sha256 ?? "");
  const known = await readFile(kept, "utf8").catch(() => undefined);
  if (known !== undefined) return known;
  for (const mirror of mirrors) {
    const answer = await fetch(urlOf(mirror, image.path));
    if (!answer.ok || answer.body === null) {
      await answer.body?.cancel();
      continue;
    }
    const body = Readable.fromWeb(answer.body as ReadableStream);
    try {
      const isImage = (path: string) => IMAGE.test(path);
      const [file] = await packageFormat(image).readFiles(body, isImage, (found) => found.length > 0);
      const banner = file && (await readBanner(file.content, file.path, unpackWhole));
      const version = banner && versionInBanner(banner);
      if (version !== undefined) await writeFile(kept, version);
      return version;
    } finally {
      body.destroy();
    }
  }
  return undefined;
}

beforeAll(async () => {
  const { main = debian.mirrors.main, security = debian.mirrors.security } = await readHostMirrors();
  const config = join(place, "kmodfarm.yaml");
  const source = { kind: "apt", releases: RELEASES, mirror: main, securityMirror: security };
  await writeFile(config, JSON.stringify({ drivers: [], sources: [source], store: "store", cache: "cache" }));
  const updated = await cli(["catalog", "update", "--config", config], { cwd: place });
  const farm = await openFarm(await loadConfig({ config }));
  const { catalog } = await readPublished(farm.store);
  if (catalog.kernels.length === 0) throw new Error(`no catalog: ${updated.stderr}`);
  await mkdir(WORDS, { recursive: true });
  const mirrors = [main, security].filter((one) => one !== undefined);
  const queue = new PQueue({ concurrency: 2 });
  const listed = catalog.kernels.filter(({ packages }) => packages.image[0]?.sha256 !== undefined);
  const chosen = listed.filter((_, at) => at % Math.max(1, Math.ceil(listed.length / MOST)) === 0);
  await Promise.all(
    chosen.map((kernel) =>
      queue.add(async () => {
        const [image] = kernel.packages.image;
        const version =
          image &&
          (await versionOf(image, mirrors).catch((fault: Error) => {
            console.log(`${image.path}: ${fault.message}`);
            return undefined;
          }));
        if (version === undefined) found.missing++;
        else found.live.push({ kernel, version });
      }),
    ),
  );
  Object.assign(found, { kernels: catalog.kernels, farm });
});

/** A registry with an artifact of its own for every kernel; what images say is known, or nobody had any. */
async function publishAll(facts: readonly KernelFacts[]): Promise<Store> {
  const { kernels, farm } = found;
  if (farm === undefined) throw new Error("no farm");
  const { catalog } = await readPublished(farm.store);
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, firstRoot());
  const outcomes = [];
  for (const { distribution, architecture, kversion, packageVersion, flavour, packages } of kernels) {
    const element = makeElement({ distribution, architecture, kversion, packageVersion, flavour, packages });
    const content = contentFor({ distribution, architecture, kversion, packageVersion });
    await putBlobs(store, element, content);
    outcomes.push(makeOutcome(element, { artifact: { entry: makeEntry(element, content), isStable: true } }));
  }
  await publishSigned(store, nextState(NOTHING, catalog, outcomes, { facts }), { now: new Date() });
  return store;
}

type Id = Parameters<typeof kernelName>[0];
const contentFor = (id: Id) => `for ${kernelName(id)} \0vermagic=${id.kversion} SMP \0`;

/** Modules that are right for a kernel: its own, or those of the same packages elsewhere. */
function rightFor(kernel: CatalogKernel): Set<string> {
  const same = found.kernels.filter(
    (one) =>
      one === kernel ||
      (one.kversion === kernel.kversion &&
        one.architecture === kernel.architecture &&
        isSameEverywhere([one, kernel])),
  );
  return new Set(same.map((one) => sha256(`module ${contentFor(one)}`)));
}

const question = ({ kernel, version }: Live): NodeQuestion => ({
  ...{ driver: "doorbell", machine: kernel.architecture, release: kernel.kversion, version },
});

test.each(["by their boot images", "by their packages' words"])("nodes are found %s", async (way) => {
  const facts = found.live.flatMap(({ kernel, version }) => imageFacts(kernel, { version }) ?? []);
  const store = await publishAll(way === "by their boot images" ? facts : []);
  const count = { right: 0, wrong: 0, ambiguous: 0, neverSeen: 0, strangersUnknown: 0 };
  for (const one of found.live) {
    const answer = await askRegistry(store, question(one), new Date());
    if (answer.kind === "found" && "artifact" in answer.block.answer) {
      const [module] = answer.block.answer.artifact.modules;
      count[rightFor(one.kernel).has(module?.digest ?? "") ? "right" : "wrong"]++;
    } else count[answer.kind === "ambiguous" ? "ambiguous" : "neverSeen"]++;
    const stranger = { ...question(one), version: one.version.replace(/(\d)( \(|$)/, "$1+strange1$2") };
    const other = await askRegistry(store, stranger, new Date());
    if (other.kind !== "found") count.strangersUnknown++;
  }
  const { kernels, live, missing } = found;
  console.log(
    `${kernels.length} kernels listed, ${live.length} boot images read, ${missing} not to be had; ${way}: ${JSON.stringify(count)}`,
  );

  expect(count).toEqual({
    ...{ right: live.length, wrong: 0, ambiguous: 0, neverSeen: 0, strangersUnknown: live.length },
  });
  expect(live.length).toBeGreaterThan(Math.min(100, MOST / 2));
});

test("the client in sh puts the modules of each very build in place", async () => {
  const facts = found.live.flatMap(({ kernel, version }) => imageFacts(kernel, { version }) ?? []);
  const store = await publishAll(facts);
  const tools = join(place, "tools");
  const host = await makeHost();
  const count = { right: 0, other: 0 };
  const said: string[] = [];
  await mkdir(tools, { recursive: true });
  for (const [at, one] of found.live.entries()) {
    const { kversion, architecture } = one.kernel;
    await writeFile(join(tools, "uname"), `#!/bin/sh\necho ${architecture}\n`, { mode: 0o755 });
    await writeFile(join(host, "proc/sys/kernel/osrelease"), `${kversion}\n`);
    await writeFile(join(host, "proc/sys/kernel/version"), `${one.version}\n`);
    await writeFile(
      join(host, "etc/os-release"),
      at % 2 === 0 ? "ID=alpine\nVERSION_ID=3.22\n" : "ID=debian\n",
    );
    const to = join(host, "to", String(at));
    const client = { name: "sh", argv: ["dash", CLIENT], path: `${tools}:${SYSTEM_PATH}` };
    const { word } = await askClient(client, host, [store.place], "--to", to);
    const module = (await inPlace(to))?.["doorbell.ko"];
    const isRight = word === "exact" && module !== undefined && rightFor(one.kernel).has(sha256(module));
    count[isRight ? "right" : "other"]++;
    if (!isRight) said.push(`${kernelName(one.kernel)}: ${word}`);
  }
  console.log(`the client in sh: ${JSON.stringify(count)}`);

  expect(said).toEqual([]);
  expect(count.right).toBe(found.live.length);
});
