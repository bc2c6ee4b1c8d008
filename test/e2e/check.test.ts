/**
 * The gate on what a night has published: the checks by hand, every way to be wrong, and what people decide.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../src/base/json.ts";
import { findKernel } from "../../src/catalog/catalog.ts";
import type { ModuleFile } from "../../src/check/opened-modules.ts";
import { loadConfig } from "../../src/farm/config/index.ts";
import { openFarm, openInputs } from "../../src/farm/open.ts";
import { fetchKernelRecord, type KernelRecord } from "../../src/inputs/kernel-record.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { viewPath } from "../../src/registry/view-path.ts";
import { ATTACKS, refusing, verdictsOf } from "../support/attacks.ts";
import { askCosign, COSIGNS, type CosignSuite } from "../support/cosign.ts";
import { ALL_DONE, readStable, type StableArtifact, type TestFarm, useFarms } from "../support/e2e-farm.ts";
import { makeBuild, makeSigner, makeStatement } from "../support/statements.ts";

const farms = useFarms();
let farm: TestFarm;
let artifacts: StableArtifact[];

beforeAll(async () => {
  farm = await farms.farm({ mirror: await farms.mirror(), warm: ALL_DONE });
  const { exitCode, stdout, stderr } = await farm.cli("run");
  if (exitCode !== 0) throw new Error(`${stdout}${stderr}`);
  artifacts = await readStable(farm.store);
});

const placeOf = (artifact: StableArtifact) => join(farm.store, viewPath(artifact));
const kernelOf = ({ distribution, architecture, kversion }: StableArtifact) =>
  `${distribution}/${architecture}/${kversion}`;

async function filesOf(artifact: StableArtifact): Promise<ModuleFile[]> {
  const names = (await readdir(placeOf(artifact))).filter((name) => name.endsWith(".ko"));
  return Promise.all(
    names.map(async (name) => ({ name, bytes: await readFile(join(placeOf(artifact), name)) })),
  );
}

async function recordOf(artifact: StableArtifact): Promise<KernelRecord> {
  const opened = await openFarm(await loadConfig({ config: farm.config }));
  try {
    const { catalog } = await readPublished(opened.store);
    return await fetchKernelRecord(findKernel(catalog, kernelOf(artifact)), openInputs(opened, catalog));
  } finally {
    await opened.close();
  }
}

describe("modules with one thing wrong", () => {
  it.each([0, 1])("are refused by the check that is for it (architecture %i)", async (index) => {
    const [artifact, other] = [artifacts[index], artifacts[1 - index]] as [StableArtifact, StableArtifact];
    const good = { files: await filesOf(artifact), kernel: await recordOf(artifact) };
    const strangers = { architecture: await filesOf(other) };

    expect(refusing(await verdictsOf(good))).toEqual([]);
    const missed = [];
    const tried = [];
    for (const { name, check, spoil } of ATTACKS) {
      const bad = spoil(good, strangers);
      if (bad === undefined) continue;
      tried.push(name);
      if (!refusing(await verdictsOf(bad)).includes(check)) missed.push(name);
    }

    expect(missed).toEqual([]);
    expect(tried).toHaveLength(ATTACKS.length - 2);
  });
});

describe("kmodfarm check", () => {
  const check = async (artifact: StableArtifact, kernel: string, ...more: string[]) => {
    const files = (await filesOf(artifact)).map(({ name }) => join(placeOf(artifact), name));
    return farm.inProcess("check", ...files, "--kernel", kernel, "--no-load", ...more);
  };

  it("passes what belongs there, and says so on one page", async () => {
    const [artifact] = artifacts as [StableArtifact];
    const table = await check(artifact, kernelOf(artifact), "--module-version", "0.1.0");
    const page = await check(artifact, kernelOf(artifact), "--explain");

    expect(table.stdout).toMatch(/^identity +pass +vermagic/m);
    expect(table.stdout).toMatch(/: loads, the vermagic and every CRC match/);
    expect(page.stdout).toMatch(/^The kernel loads these modules\./);
    expect(page.stdout).toContain("Were they built for exactly this kernel? yes [identity: pass]");
    expect([table.exitCode, page.exitCode]).toEqual([0, 0]);
  });

  it("takes the name of what the store has, with its own kernel", async () => {
    const [artifact] = artifacts as [StableArtifact];
    const name = viewPath(artifact).replace(/^view\//, "");

    const known = await farm.cli("check", name, "--no-load", "--json");
    const unclear = await farm.inProcess("check", "doorbell", "--no-load");
    const unknown = await farm.inProcess("check", "doorbell/9.9.9", "--no-load");
    const file = await farm.inProcess("check", join(placeOf(artifact), "doorbell.ko"), "--no-load");

    expect(JSON.parse(known.stdout)).toMatchObject({
      kernel: expect.stringContaining(kernelOf(artifact)),
      files: (await filesOf(artifact)).map((one) => expect.objectContaining({ name: one.name })),
      verdicts: expect.arrayContaining([
        expect.objectContaining({
          check: "load",
          verdict: "pass",
          reasons: [expect.stringMatching(/^on record: /)],
        }),
        expect.objectContaining({ check: "provenance", verdict: "pass" }),
      ]),
    });
    expect(known.exitCode).toBe(0);
    expect(unclear.stderr).toMatch(/'doorbell' may mean any of doorbell\/.*\[ARTIFACT_AMBIGUOUS\]/s);
    expect(unknown.stderr).toContain("[ARTIFACT_UNKNOWN]");
    expect(file.stderr).toMatch(/no kernel was named to check[\s\S]*\[USAGE\]/);
  });

  it("refuses what is another kernel's", async () => {
    const [artifact, other] = artifacts as [StableArtifact, StableArtifact];
    const { stdout, exitCode } = await check(artifact, kernelOf(other), "--json");

    const { answer, verdicts } = JSON.parse(stdout);
    expect(answer.answer).toBe("refuses");
    expect(verdicts.find((one: { check: string }) => one.check === "identity").verdict).toBe("fail");
    expect(exitCode).toBe(1);
  });
});

describe("a manifest", () => {
  it("holds what the kernel says of itself", async () => {
    const [artifact] = artifacts as [StableArtifact];
    const { environment, modules } = JSON.parse(
      await readFile(join(placeOf(artifact), "manifest.json"), "utf8"),
    );
    const { release, vermagic, buildSalt, configDigest } = await recordOf(artifact);

    expect(environment.target).toMatchObject({ release, vermagic, buildSalt, configuration: configDigest });
    expect(modules[0].witnesses).toMatchObject({ vermagic, buildSalt });
  });
});

it("gives each artifact a statement that cosign accepts for every module of it", async () => {
  const keys = await farm.inProcess("keys", "show", "builder");
  const key = keys.stdout.slice(keys.stdout.indexOf("-----BEGIN PUBLIC KEY"));
  for (const artifact of artifacts) {
    const bundle = await readFile(join(placeOf(artifact), "provenance.sigstore.json"), "utf8");
    for (const { bytes } of await filesOf(artifact))
      for (const suite of Object.keys(COSIGNS) as CosignSuite[])
        expect(await askCosign(suite, farm.directory, { bundle, key, blob: bytes })).toMatchObject({
          isAccepted: true,
        });
  }
});

describe("what people decide", () => {
  it("holds over the nights, and is on the record", async () => {
    const [artifact] = artifacts as [StableArtifact];
    const name = viewPath(artifact).replace(/^view\//, "");

    const back = await farm.cli("withdraw", name, "--why", "an oops", "--by", "ann");
    const night = await farm.cli("run");
    const again = await farm.cli("promote", name, "--why", "no oops after all", "--by", "ann");

    expect(back.stdout).toMatch(/^withdrawn +doorbell\/.* +withdrawn by ann: an oops$/m);
    const others = artifacts.length - 1;
    expect(night.stdout).toContain(`${others} stable, 0 candidates, 0 failed, 1 withdrawn, 0 of them new`);
    expect([back.exitCode, night.exitCode, again.exitCode]).toEqual([0, 0, 0]);
    expect(await readStable(farm.store)).toHaveLength(artifacts.length);
    expect(again.stdout).toMatch(/^promoted /m);
  });

  it("is asked of a policy, which also says what it does not understand", async () => {
    const [artifact] = artifacts as [StableArtifact];
    const name = viewPath(artifact).replace(/^view\//, "");
    await writeFile(join(farm.directory, "policy.yaml"), "require: [reproducible]\n");
    const config = JSON.parse(await readFile(farm.config, "utf8"));
    await writeFile(farm.config, JSON.stringify({ ...config, policy: "policy.yaml" }));
    await farm.inProcess("withdraw", name, "--why", "to try");

    const refused = await farm.inProcess("promote", name, "--why", "to try");
    await writeFile(join(farm.directory, "policy.yaml"), "require: [reproductible]\n");
    const unclear = await farm.inProcess("promote", name, "--why", "to try");
    await writeFile(farm.config, JSON.stringify(config));

    expect(refused.stdout).toMatch(/^refused .*reproducible: unknown: not built a second time/m);
    expect(refused.exitCode).toBe(1);
    expect(unclear.stderr).toMatch(/policy\.yaml: require\[0\]: must be "format" or/);
    expect(unclear.exitCode).toBe(2);
  });

  it("takes in what others built as a candidate", async () => {
    const [, artifact] = artifacts as [StableArtifact, StableArtifact];
    const files = (await filesOf(artifact)).map(({ name }) => join(placeOf(artifact), name));
    const who = ["--driver", "vendor", "--driver-version", "2.0.0", "--why", "ticket 7"];

    const { stdout, exitCode } = await farm.cli(
      "import",
      ...files,
      "--target",
      kernelOf(artifact),
      ...who,
      "--no-load",
    );

    expect(stdout).toMatch(/^imported +vendor\/2\.0\.0\//m);
    expect(exitCode).toBe(0);
    expect((await readStable(farm.store)).filter(({ driver }) => driver === "vendor")).toEqual([]);
    const importAs = (name: string) =>
      farm.inProcess(
        ...["import", ...files, "--target", kernelOf(artifact), "--no-load"],
        ...["--driver", name, "--driver-version", "0.1.0", "--why", "ticket 7"],
      );
    expect((await importAs("../../out")).stderr).toMatch(
      /driver "\.\.\/\.\.\/out" is not a safe name[\s\S]*\[UNSAFE_NAME\]/,
    );
    expect((await importAs("doorbell")).stderr).toMatch(/already exists and was built here[\s\S]*\[USAGE\]/);
  });

  it("lets what others built pass if the policy believes their builder, and their statement is about it", async () => {
    const [, artifact] = artifacts as [StableArtifact, StableArtifact];
    const [vendor, id] = [makeSigner(), "https://vendor.example/builder"];
    const files = await filesOf(artifact);
    const places = files.map(({ name }) => join(placeOf(artifact), name));
    const modules = files.map(({ name, bytes }) => ({
      name: name.replace(/\.ko$/, ""),
      digest: sha256(bytes),
    }));
    const { distribution: release, architecture, kversion, packageVersion, flavour } = artifact;
    const stated = (version: string) =>
      makeStatement(
        modules,
        makeBuild({
          identity: {
            driver: { name: "belt", version, source: sha256("what the vendor built") },
            distribution: { id: release.replace(/[\d.]+$/, ""), release },
            architecture,
            kernel: { release: kversion, packageVersion, flavour },
          },
        }),
        id,
      );
    await writeFile(
      join(farm.directory, "vendor.pem"),
      vendor.key.key.export({ type: "spki", format: "pem" }),
    );
    const policy = { require: ["format", "provenance"], builders: [{ id, key: "vendor.pem" }] };
    await writeFile(join(farm.directory, "policy.yaml"), JSON.stringify(policy));
    const config = JSON.parse(await readFile(farm.config, "utf8"));
    await writeFile(farm.config, JSON.stringify({ ...config, policy: "policy.yaml" }));
    const bundles = {
      good: vendor.sign(stated("3.0.0")),
      strange: makeSigner().sign(stated("3.0.0")),
      other: vendor.sign(stated("2.9.0")),
      broken: "{}",
    };
    const importWith = async (name: keyof typeof bundles) => {
      await writeFile(join(farm.directory, `${name}.json`), bundles[name]);
      return farm.inProcess(
        ...["import", ...places, "--target", kernelOf(artifact), "--no-load", "--why", "ticket 8"],
        ...[
          "--driver",
          "belt",
          "--driver-version",
          "3.0.0",
          "--provenance",
          join(farm.directory, `${name}.json`),
        ],
      );
    };

    expect((await importWith("broken")).stderr).toMatch(/broken\.json: .*\[PROVENANCE_MALFORMED\]/s);
    expect((await importWith("strange")).stdout).toMatch(
      /provenance: unknown: none of the policy's builders/,
    );
    expect((await importWith("other")).stdout).toMatch(
      /provenance: fail: its statement says driver\.version 2\.9\.0/,
    );
    expect((await importWith("good")).stdout).toMatch(
      /^imported +belt\/3\.0\.0\/.* imported by .*: ticket 8$/m,
    );
    const promoted = await farm.inProcess("promote", "belt", "--why", "its builder says so");
    await writeFile(join(farm.directory, "policy.yaml"), JSON.stringify({ ...policy, builders: undefined }));
    const later = await farm.inProcess("promote", "belt", "--why", "again");
    await writeFile(farm.config, JSON.stringify(config));

    expect(promoted.stdout).toMatch(/^promoted +belt\/3\.0\.0\//m);
    expect(later.stdout).toMatch(/stable, but now provenance: unknown: none of the policy's builders/);
  });
});
