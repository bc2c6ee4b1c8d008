/**
 * A registry's log from the outside: `verify` keeps what it saw and reports what does not continue it, witnesses cosign,
 * and a proof needs no network. Over real keys in the signer's processes.
 */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { loadConfig } from "../../src/farm/config/index.ts";
import { openFarm } from "../../src/farm/open.ts";
import { authorOf } from "../../src/farm/signing/heads.ts";
import { publish } from "../../src/registry/commit.ts";
import type { Decision } from "../../src/registry/documents.ts";
import { nextState } from "../../src/registry/publish.ts";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../support/artifacts.ts";
import { cli } from "../support/e2e-farm.ts";
import { makeElement } from "../support/elements.ts";
import { inProcess } from "../support/in-process.ts";
import { makeCatalog, makeKernel } from "../support/kernels.ts";
import { startServer } from "../support/server.ts";
import { sharedDirectory } from "../support/temporary.ts";

const place = sharedDirectory();
const at = (...names: string[]) => join(place, ...names);
const ELEMENT = makeElement();
const ENTRY = makeEntry(ELEMENT, "one");
const run = (...argv: string[]) => inProcess(argv, { cwd: place });
const good = async (...argv: string[]) => {
  const done = await run(...argv);
  expect(done.exitCode, `${argv.join(" ")}: ${done.stderr}${done.stdout}`).toBe(0);
  return done;
};
const verify = (registry: string, ...argv: string[]) =>
  run("verify", registry, "--state", at("state"), ...argv);

function decisions(...whys: readonly string[]): Decision[] {
  const artifact = { driver: ENTRY.driver, output: ENTRY.output, recipe: ENTRY.recipe };
  return whys.map((why) => ({
    ...{ at: "2026-11-28T02:00:00.000Z", action: "promote", artifact, by: "ann", why, kernel: why },
    ...{ manifest: ENTRY.manifest, verdicts: [] },
  }));
}

/** Publishes as a run does, with the keys of the configuration. */
async function publishDecisions(...whys: readonly string[]): Promise<void> {
  const farm = await openFarm(await loadConfig({ config: at("kmodfarm.yaml") }));
  try {
    await putBlobs(farm.store, ELEMENT, "one");
    const outcome = makeOutcome(ELEMENT, { artifact: { entry: ENTRY, isStable: true } });
    const state = {
      ...nextState(NOTHING, makeCatalog([makeKernel()]), [outcome]),
      decisions: decisions(...whys),
    };
    const author = authorOf(farm, "ann", "run", () => new Date());
    await publish(
      farm.store,
      (before) => ({ state: { ...before, ...state, head: before.head, parts: before.parts }, result: 0 }),
      author,
    );
  } finally {
    await farm.close();
  }
}

beforeAll(async () => {
  const keys = Object.fromEntries(
    ["root", "head", "log"].map((role) => [role, { for: role, file: `keys/${role}.pem` }]),
  );
  const config = { store: "store", cache: "cache", keys, drivers: [], sources: [] };
  await writeFile(at("kmodfarm.yaml"), JSON.stringify(config));
  for (const role of ["root", "head", "log"])
    await good("keys", "create", role, "--for", role, "--no-password", "--to", at("keys"));
  for (const name of ["alice", "bob"])
    await good("keys", "create", name, "--for", "witness", "--no-password", "--to", at("keys"));
  const key = (name: string) => at("keys", `${name}.pub`);
  const first = ["--root-key", key("root"), "--head-key", key("head"), "--log-key", key("log")];
  await good("root", "new", "--origin", "farm.example.org/log", ...first, "--to", "root.1");
  await good("root", "sign", "root.1");
  await good("root", "publish", "root.1");
  await publishDecisions("one", "two");
});

test.each(["witness", "verify"])(
  "of two runs of %s that a server shows two sides of a fork, one keeps its side",
  async (command) => {
    const copy = async (from: string, to: string) => {
      await rm(at(to), { recursive: true, force: true });
      await cp(at(from), at(to), { recursive: true });
    };
    const state = ["--state", at(`state-of-two-${command}`)];
    const key = command === "witness" ? ["--key", at("keys", "alice.pem")] : [];
    const start = (registry: string) => cli([command, registry, ...key, ...state], { cwd: place });
    await copy("store", "base");
    await publishDecisions("one", "two", "for everybody");
    await copy("store", "one-side");
    await copy("base", "store");
    await publishDecisions("one", "two", "for one alone");
    await copy("store", "other-side");
    await copy("base", "store");
    expect(await start(at("base"))).toMatchObject({ exitCode: 0 });
    const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let side = "one-side";
    const server = await startServer(({ url = "" }, response) => {
      const from = side;
      const isHeld = from === "one-side" && url.includes("log/tile");
      if (isHeld) held.resolve();
      void (isHeld ? released.promise : Promise.resolve())
        .then(() => readFile(at(from, decodeURIComponent(url))))
        .then(
          (bytes) => response.end(bytes),
          () => response.writeHead(404).end(),
        );
    });

    const first = start(server.url);
    await Promise.race([held.promise, first.then(({ stderr }) => expect.unreachable(stderr))]);
    side = "other-side";
    const second = await start(server.url);
    expect(second.exitCode, second.stdout + second.stderr).toBe(0);
    side = "one-side";
    released.resolve();

    const told = {
      [command === "witness" ? "stderr" : "stdout"]: expect.stringMatching(
        /forked.*seen before: \d.*shown now: \d/,
      ),
    };
    expect(await first).toMatchObject({ exitCode: 4, ...told });
    expect(await start(at("other-side"))).toMatchObject({ exitCode: 0 });
  },
  60_000,
);

test("verify keeps the checkpoint that it saw, and finds a log that grew good", async () => {
  expect(await verify(at("store"), "--root", at("root.1"))).toMatchObject({ exitCode: 0 });
  await publishDecisions("one", "two", "three");

  expect(await verify(at("store"), "--root", at("root.1"))).toMatchObject({ exitCode: 0 });
});

test("B14 a log that was cut, forked or rewritten is reported with both checkpoints, by whatever address it is read", async () => {
  await cp(at("store"), at("two"), { recursive: true });
  await publishDecisions("one", "two", "three", "four");
  await verify(at("store"));
  const seen = (await readFile(at("store/metadata/log/checkpoint"), "utf8")).split("\n").slice(1, 3);
  const cut = await verify(at("two"));

  expect(cut).toMatchObject({ exitCode: 4, stdout: expect.stringContaining("shrank") });
  expect(cut.stdout).toContain(`seen before: ${seen[0]} entries, root ${seen[1]}`);
  // The same keys publish another history upon the older state.
  await cp(at("store"), at("kept"), { recursive: true });
  await cp(at("two"), at("store"), { recursive: true, force: true });
  for (const path of ["generations", "metadata", "channels"]) {
    await rm(at("store", path), { recursive: true });
    await cp(at("two", path), at("store", path), { recursive: true });
  }
  await publishDecisions("one", "two", "three", "other");
  expect(await verify(at("store"))).toMatchObject({ exitCode: 4, stdout: expect.stringContaining("forked") });
  await publishDecisions("one", "two", "three", "other", "five");
  const server = await startServer(({ url = "" }, response) => {
    void readFile(at("store", decodeURIComponent(url))).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  const rewritten = await verify(server.url);
  expect(rewritten).toMatchObject({ exitCode: 4, stdout: expect.stringContaining("was rewritten") });
  // What was seen stays, so that it is reported again.
  expect((await verify(at("store"), "--json")).stdout).toContain("LOG_INCONSISTENT");
  expect(await verify(at("kept"))).toMatchObject({ exitCode: 0 });
});

test("B16 witnesses cosign what grew, and nothing else; the root says how many must", async () => {
  const witness = (registry: string, name: string) =>
    run("witness", at(registry), "--key", at("keys", `${name}.pem`), "--state", at(`state-${name}`));
  await cp(at("kept"), at("store"), { recursive: true, force: true });
  const fresh = at("kept");
  const alice = await witness("kept", "alice");
  expect(alice.exitCode, alice.stderr).toBe(0);
  expect(await witness("two", "alice")).toMatchObject({
    exitCode: 4,
    stdout: "",
    stderr: expect.stringContaining("shrank"),
  });
  await writeFile(at("cosigned.alice"), alice.stdout);
  const key = (name: string) => at("keys", `${name}.pub`);
  await rm(at("store"), { recursive: true });
  await cp(fresh, at("store"), { recursive: true });
  const both = ["--witness-key", key("alice"), "--witness-key", key("bob"), "--witnesses", "2"];
  await good("root", "new", "--after", "root.1", ...both, "--to", "root.2");
  await good("root", "sign", "root.2");
  await good("root", "publish", "root.2");
  expect(await verify(at("store"))).toMatchObject({
    exitCode: 4,
    stdout: expect.stringContaining("for witness"),
  });
  expect((await good("log", "cosign", at("cosigned.alice"))).stdout).toContain("1 witness of 2");
  expect(await verify(at("store"))).toMatchObject({ exitCode: 4 });
  await writeFile(at("cosigned.bob"), (await witness("store", "bob")).stdout);
  expect((await good("log", "cosign", at("cosigned.bob"), at("cosigned.alice"))).stdout).toContain(
    "2 witnesses of 2",
  );

  expect(await verify(at("store"))).toMatchObject({ exitCode: 0 });
});

test("a proof in a file says without a network that an artifact was promoted", async () => {
  const { stdout } = await good("log", "prove", "doorbell", "--registry", at("store"));
  await writeFile(at("one.tlog-proof"), stdout);
  const manifest = at("store/view", ENTRY.driver, ENTRY.output, "manifest.json");
  const check = (...argv: string[]) =>
    run("log", "check", at("one.tlog-proof"), "--root", at("root.1"), ...argv);

  expect(await check("--manifest", manifest)).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^v1 promote [\s\S]*Entry 4 of the 5 in the log of farm.example.org\/log/),
  });
  expect(await check("--manifest", at("root.1"))).toMatchObject({ exitCode: 4 });
  await writeFile(at("one.tlog-proof"), stdout.replace("index 4", "index 2"));
  expect(await check()).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("LOG_INCONSISTENT") });
});
