/** The client in Node, as the one file that hosts get; what it does beside the contract; both clients on one node. */
import { cp, mkdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { bundleNodeClient } from "../../scripts/node-client.ts";
import { sha256 } from "../../src/base/json.ts";
import type { ArchitectureName } from "../../src/kernel/architecture.ts";
import { logProofPath } from "../../src/provenance/shown-log.ts";
import { writeNote } from "../../src/provenance/signed-note.ts";
import type { BuiltIdentity } from "../../src/provenance/slsa.ts";
import { writeTrust } from "../../src/provenance/trust.ts";
import type { Decision } from "../../src/registry/documents.ts";
import { nextState } from "../../src/registry/publish.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../support/artifacts.ts";
import { makeElement } from "../support/elements.ts";
import { inProcess } from "../support/in-process.ts";
import { makeCatalog, makeKernel } from "../support/kernels.ts";
import { CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { blockOf, given, makeHost, makeNodeRegistry, UNAME } from "../support/node-registry.ts";
import { ORIGIN, signed, trustWithLog } from "../support/notes.ts";
import { firstRoot, LOG_KEY, publishSigned, putRoot, ROOT_KEY } from "../support/signed-store.ts";
import { certifiedBundle, ISSUER, SUBJECT, startSigstore } from "../support/sigstore.ts";
import { BUILDER, makeBuild, makeSigner, makeStatement } from "../support/statements.ts";
import { sharedDirectory, temporaryDirectory } from "../support/temporary.ts";
import {
  ALL_OF_ONE,
  ALL_OF_TWO,
  askClient,
  inPlace,
  type NodeClient,
  nodeClientContract,
  SETS,
  says,
  TWO,
} from "./node-client.ts";

const FILE = join(sharedDirectory(), "kmodfarm-fetch.mjs");
const NODE: NodeClient = { name: "Node", argv: [process.execPath, FILE], path: SYSTEM_PATH, workMs: 700 };
const SHELL: NodeClient = { name: "dash, curl", argv: ["dash", CLIENT], path: SYSTEM_PATH };

beforeAll(() => bundleNodeClient(FILE));

nodeClientContract({ ...NODE, extent: "short" });

test("takes turns with the client in sh on one node", async () => {
  const registry = await makeNodeRegistry();
  const host = await makeHost();
  const place = join(host, SETS);
  for (const [first, second] of [
    [NODE, SHELL],
    [SHELL, NODE],
  ] as const) {
    for (const [changes, modules] of [
      [{}, ALL_OF_ONE],
      [TWO, ALL_OF_TWO],
    ] as const) {
      await registry.publish([blockOf(await given(registry, changes))]);
      expect(await askClient(first, host, [registry.directory])).toEqual(says("exact", 0));
      const slot = await readlink(join(place, "doorbell"));
      expect(await askClient(second, host, [registry.directory])).toEqual(says("exact", 0));
      expect(await readlink(join(place, "doorbell"))).toBe(slot);
      expect(await inPlace(place)).toEqual(modules);
    }
  }
});

test("B14 a node that demands the log takes nothing that is not in it, of no log that was cut, forked or rewritten", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  const trust = trustWithLog(firstRoot(), [LOG_KEY]);
  await putRoot(store, trust);
  const host = await makeHost(writeNote(signed(writeTrust(trust), ORIGIN, [ROOT_KEY])));
  await writeFile(join(host, "etc/kmodfarm/require-log"), "");
  const kernel = makeKernel({ kversion: UNAME.release, architecture: UNAME.machine as ArchitectureName });
  const { kversion, packageVersion, architecture } = kernel;
  const element = makeElement({ kversion, packageVersion, architecture });
  const content = `\0vermagic=${UNAME.release} SMP \0`;
  await putBlobs(store, element, content);
  const entry = makeEntry(element, content);
  const state = nextState(NOTHING, makeCatalog([kernel]), [
    makeOutcome(element, { artifact: { entry, isStable: true } }),
  ]);
  const { driver, output, recipe, manifest } = entry;
  const decision = (action: Decision["action"], at: number): Decision => ({
    ...{
      at: `2026-11-28T02:00:0${at}.000Z`,
      action,
      artifact: { driver, output, recipe },
      by: "ann",
      why: "it passed",
    },
    ...{ manifest, verdicts: [] },
  });
  const publishAll = async (...decisions: readonly Decision[]) => {
    for (const at of decisions.keys())
      await publishSigned(store, { ...state, decisions: decisions.slice(0, at + 1) }, { now: new Date() });
  };
  const copies = await temporaryDirectory();
  const copy = async (from: string, to: string) => {
    await rm(to, { recursive: true, force: true });
    await cp(from, to, { recursive: true });
  };
  const ask = async (...more: string[]) => {
    const at = ["--host-root", host, "--registry", store.place, "--to", join(host, "to")];
    const { exitCode: exit, stdout } = await inProcess(["fetch", "doorbell", ...at, ...more]);
    const [, word = stdout, sentence = ""] = /^(\w+): (.*)\n$/.exec(stdout) ?? [];
    return { word, exit, sentence };
  };
  const bad = (fact: RegExp) => says("integrity", 4, expect.stringMatching(fact));

  await publishAll(decision("import", 0));
  expect(await ask()).toEqual(bad(/nothing shows that doorbell .* is in its log/));
  expect(await inPlace(join(host, "to"))).toBeUndefined();
  await copy(store.place, join(copies, "unlogged"));
  await publishAll(decision("import", 0), decision("promote", 1));
  await copy(store.place, join(copies, "promoted"));
  expect(await askClient(SHELL, host, [store.place])).toEqual(bad(/require-log demands/));
  expect(await ask()).toEqual(says("exact", 0));
  await publishAll(decision("import", 0), decision("promote", 1), decision("promote", 2));
  expect(await ask()).toEqual(says("exact", 0));
  await copy(store.place, join(copies, "grown"));
  const both = "seen before: 3 entries, root \\S+; shown now: ";
  // Each is a history that the same keys signed, with heads of later serials.
  const others: [RegExp, ...Decision["action"][]][] = [
    [new RegExp(`shrank.*${both}2 entries`), "import", "import", "import"],
    [new RegExp(`forked.*${both}3 entries`), "import", "import", "withdraw"],
    [new RegExp(`rewritten.*${both}4 entries`), "import", "withdraw", "withdraw"],
  ];
  for (const [fact, ...actions] of others) {
    await copy(join(copies, "promoted"), store.place);
    await publishAll(
      decision("import", 0),
      decision("promote", 1),
      ...actions.map((action, at) => decision(action, at + 3)),
    );
    expect(await ask()).toEqual(bad(fact));
    expect(await inPlace(join(host, "to"))).toBeDefined();
  }
  await copy(join(copies, "grown"), store.place);
  const path = join(store.place, logProofPath(manifest));
  const proof = await readFile(path, "utf8");
  for (const changed of [
    proof.replace("index 1", "index 0"),
    proof.replace(/^extra .*/m, "extra eA=="),
    proof.slice(9),
  ]) {
    await writeFile(path, changed);
    expect((await ask()).word).toBe("integrity");
  }
  await writeFile(path, proof);
  expect(await ask()).toEqual(says("exact", 0));
  // What is in place stays in use; nothing new is taken from nobody.
  expect(await ask("--offline")).toEqual(says("exact", 0));
  await rm(join(host, "to"), { recursive: true });
  expect(await ask("--offline")).toEqual(says("unreachable", 3, expect.stringContaining("in its log")));
});

const IDENTITY: BuiltIdentity = {
  driver: { name: "doorbell", version: "0.1.1", source: sha256("source") },
  distribution: { id: "debian", release: "debian12" },
  architecture: UNAME.machine as ArchitectureName,
  kernel: { release: UNAME.release, packageVersion: "6.1.170-3", flavour: "generic" },
};
const MODULES = Object.entries(ALL_OF_ONE).map(([file, content]) => ({
  name: file.replace(/\.ko$/, ""),
  digest: sha256(content),
}));

function manifestOf(identity = IDENTITY, modules = MODULES): string {
  return JSON.stringify({
    identity,
    modules: modules.map(({ name, digest }) => ({ name, digests: { unsigned: digest } })),
  });
}

test("does not believe the registry alone which build of a kernel a statement is about", async () => {
  const builder = makeSigner();
  const host = await makeHost();
  await writeFile(join(host, "etc/kmodfarm/builders"), `${BUILDER} builder.pem\n`);
  await writeFile(
    join(host, "etc/kmodfarm/builder.pem"),
    builder.key.key.export({ format: "pem", type: "spki" }),
  );
  const registry = await makeNodeRegistry();
  // A genuine statement for another build of the node's release, of the same or of another distribution, and a block that
  // says that the node runs that one: whoever has the head key can sign it.
  const packages = [
    ["debian12", "6.1.170-4"],
    ["ubuntu24.04", "6.1.0-56.170"],
  ] as const;
  for (const [distribution, packageVersion] of packages) {
    const identity: BuiltIdentity = {
      ...IDENTITY,
      distribution: { id: distribution.replace(/[\d.]+$/, ""), release: distribution },
      kernel: { ...IDENTITY.kernel, packageVersion },
    };
    const provenance = [builder.sign(makeStatement(MODULES, makeBuild({ identity })))];
    const manifest = manifestOf(identity);
    const kernel = `${distribution}/${UNAME.machine}/${UNAME.release}_${packageVersion}`;
    for (const [answer, changes] of [
      [await given(registry, { manifest, provenance }), { distribution, packageVersion }],
      [await given(registry, { manifest, provenance, builtFor: kernel }), {}],
    ] as const) {
      await registry.publish([blockOf(answer, changes)]);
      expect(await askClient(NODE, host, [registry.directory])).toEqual(
        says("integrity", 4, expect.stringContaining("another build of the kernel")),
      );
    }
  }
  expect(await askClient(SHELL, host, [registry.directory])).toEqual(says("integrity", 4));
  expect(await inPlace(join(host, SETS))).toBeUndefined();
});

test("gives a node that demands a builder's word only what that builder states", async () => {
  const [builder, stranger] = [makeSigner(), makeSigner()];
  const statement = makeStatement(MODULES, makeBuild({ identity: IDENTITY }));
  const stated = builder.sign(statement);
  const older = { ...IDENTITY, driver: { ...IDENTITY.driver, version: "0.1.0" } };
  const other = { ...IDENTITY, kernel: { ...IDENTITY.kernel, packageVersion: "6.1.170-4" } };
  const [one] = MODULES;
  const bad = [
    { manifest: manifestOf(), provenance: [] },
    { manifest: manifestOf(), provenance: [stranger.sign(statement)] },
    {
      manifest: manifestOf(),
      provenance: [builder.sign({ ...statement, subject: statement.subject.slice(1) })],
    },
    {
      manifest: manifestOf(older),
      provenance: [builder.sign(makeStatement(MODULES, makeBuild({ identity: older })))],
    },
    {
      manifest: manifestOf(other),
      provenance: [builder.sign(makeStatement(MODULES, makeBuild({ identity: other })))],
    },
    { manifest: manifestOf(IDENTITY, one ? [one] : []), provenance: [stated] },
    {
      manifest: manifestOf(),
      provenance: [builder.sign(makeStatement(MODULES, makeBuild({ identity: IDENTITY }), "urn:other"))],
    },
    { manifest: "{}", provenance: [stated] },
  ];
  const registry = await makeNodeRegistry();
  const host = await makeHost();
  await mkdir(join(host, "etc/kmodfarm/keys"));
  await writeFile(join(host, "etc/kmodfarm/builders"), `# who builds for us\n${BUILDER} keys/builder.pem\n`);
  await writeFile(
    join(host, "etc/kmodfarm/keys/builder.pem"),
    builder.key.key.export({ format: "pem", type: "spki" }),
  );
  for (const changes of bad) {
    await registry.publish([blockOf(await given(registry, changes))]);
    expect(await askClient(NODE, host, [registry.directory])).toEqual(says("integrity", 4));
  }
  expect(await inPlace(join(host, SETS))).toBeUndefined();
  await registry.publish([
    blockOf(
      await given(registry, { manifest: manifestOf(), provenance: [stranger.sign(statement), stated] }),
    ),
  ]);
  // Which cannot read statements, and must not pretend that there are none.
  expect(await askClient(SHELL, host, [registry.directory])).toEqual(
    says("integrity", 4, expect.stringContaining("etc/kmodfarm/builders")),
  );
  expect(await askClient(NODE, host, [registry.directory])).toEqual(says("exact", 0));
  expect(await askClient(NODE, host, [], "--offline")).toEqual(says("exact", 0));
  await writeFile(join(host, "etc/kmodfarm/builders"), `${BUILDER}\n`);
  expect(await askClient(NODE, host, [registry.directory])).toEqual(says("integrity", 4));
});

test("takes a builder's word that no key signed, from that very identity", async () => {
  await using sigstore = await startSigstore();
  const statement = makeStatement(MODULES, makeBuild({ identity: IDENTITY }));
  const [stated, strange] = await Promise.all(
    [{}, { claims: { iss: ISSUER, sub: `${SUBJECT}x` } }].map(async (by) =>
      certifiedBundle(sigstore, statement, await temporaryDirectory(), by),
    ),
  );
  const [registry, host] = [await makeNodeRegistry(), await makeHost()];
  const line = `${BUILDER} keyless ${ISSUER} ${SUBJECT}`;
  await writeFile(join(host, "etc/kmodfarm/builders"), `${line} roots.json\n`);
  await writeFile(join(host, "etc/kmodfarm/roots.json"), sigstore.roots);
  const publish = async (bundle = "") =>
    registry.publish([blockOf(await given(registry, { manifest: manifestOf(), provenance: [bundle] }))]);

  await publish(strange);
  expect(await askClient(NODE, host, [registry.directory])).toEqual(says("integrity", 4));
  await publish(stated);
  for (const damaged of [
    line,
    `${line} none.json`,
    `${line} root`,
    `${line} roots.json x`,
    `${BUILDER} keyless`,
  ]) {
    await writeFile(join(host, "etc/kmodfarm/builders"), `${damaged}\n`);
    expect(await askClient(NODE, host, [registry.directory])).toEqual(says("integrity", 4));
  }
  expect(await inPlace(join(host, SETS))).toBeUndefined();
  await writeFile(join(host, "etc/kmodfarm/builders"), `${line} roots.json\n`);
  expect(await askClient(NODE, host, [registry.directory])).toEqual(says("exact", 0));
});
