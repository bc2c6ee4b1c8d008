/** Bills of materials are what the schema of CycloneDX says, name every input with its digest, and hold no clock. */
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { describe, expect, test } from "vitest";
import { putInputs, putPackage } from "../../../test/support/kept-inputs.ts";
import { MODULES } from "../../../test/support/statements.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { hexOf, sha256 } from "../../base/json.ts";
import { BuildInputs, readInput, ToolchainInputs } from "../../registry/inputs.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import { type BilledArtifact, sbomOf } from "./sbom.ts";

const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);

async function artifact(): Promise<BilledArtifact> {
  const store = await openFolderStore(await temporaryDirectory());
  const plus = { ...(await putPackage(store, "g++-12")), version: "1:12.2.0-14+deb12u1" };
  const part = await putInputs(store, { toolchain: { packages: [plus, await putPackage(store, "make")] } });
  const inputs = await readInput(store, part, BuildInputs);
  const toolchain = await readInput(store, inputs.toolchain, ToolchainInputs);
  return { recipeKey: sha256("recipe"), modules: MODULES, inputs, toolchain };
}

interface Component {
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly scope?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly components?: readonly Component[];
}

describe("a bill of materials", () => {
  test("is valid against the schema, which refuses others", async () => {
    const text = sbomOf(await artifact());

    expect(await validator.validate(text)).toBeNull();
    expect(
      await validator.validate(text.replace('"specVersion":"1.6"', '"specVersion":"1.6","x":1')),
    ).not.toBeNull();
    expect(await validator.validate(text.replace(/urn:uuid:/, "urn:other:"))).not.toBeNull();
  });

  test("names every input and every module with its digest", async () => {
    const made = await artifact();

    const { components, metadata } = JSON.parse(sbomOf(made)) as {
      components: readonly Component[];
      metadata: { component: Component };
    };

    const digests = new Map(components.map(({ name, hashes = [] }) => [name, hashes[0]?.content]));
    for (const { name, sha256: digest } of [...made.inputs.headers, ...made.toolchain.packages])
      expect(digests.get(name), name).toBe(digest);
    expect(digests.get("doorbell source")).toBe(hexOf(made.inputs.driver.source.archive.digest));
    expect(metadata.component).toMatchObject({ name: "doorbell", version: "0.1.1" });
    expect(metadata.component.components?.map(({ name, hashes }) => [name, hashes?.[0]?.content])).toEqual(
      MODULES.map(({ name, digest, stripped }) => [`${name}.ko`, hexOf(stripped ?? digest)]),
    );
    expect(components.find(({ name }) => name === "g++-12")).toMatchObject({
      version: "1:12.2.0-14+deb12u1",
      purl: "pkg:deb/debian/g%2B%2B-12@1:12.2.0-14+deb12u1?distro=debian-12",
      scope: "excluded",
    });
    expect(components.find(({ name }) => name === "linux-headers")?.scope).toBeUndefined();
  });

  test("is the same for the same build, and another one for another", async () => {
    const made = await artifact();
    const [again, other] = [await artifact(), { ...made, recipeKey: sha256("another recipe") }];

    expect(sbomOf(again)).toBe(sbomOf(made));
    const serials = [made, other].map((one) => JSON.parse(sbomOf(one)).serialNumber);
    expect(serials[0]).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(new Set(serials).size).toBe(2);
  });
});
