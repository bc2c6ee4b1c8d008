import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { sharedFile } from "../../test/support/shared.ts";
import { parseHeaderUrl } from "../kernel/header-file.ts";
import { EMPTY_CATALOG } from "./catalog.ts";
import { exportDriverkit, readDriverkit } from "./driverkit.ts";
import { reportsOfList } from "./kernel-list.ts";
import { mergeCatalog } from "./merge.ts";

const FIXTURES = fileURLToPath(new URL("../../test/fixtures/driverkit", import.meta.url));
const FALCO = { name: "falco", version: "7.3.0+driver" };
const NOW = "2026-01-01T00:00:00.000Z";

function configsIn(directory: string) {
  const names = readdirSync(directory).filter((name) => name.endsWith(".yaml"));
  expect(names.length).toBeGreaterThan(1);
  return names.map((name) => ({ name, text: readFileSync(join(directory, name), "utf8") }));
}

function kernelsOf(files: readonly { name: string; text: string }[]) {
  const list = readDriverkit(files, { url: "configs" });
  expect(list.dropped).toEqual([]);
  return mergeCatalog(EMPTY_CATALOG, reportsOfList(list, EMPTY_CATALOG, NOW), { now: NOW }).kernels;
}

describe("driverkit's configurations", () => {
  test("become kernels", () => {
    expect(kernelsOf(configsIn(FIXTURES))).toMatchObject([
      {
        distribution: "almalinux9.6",
        kversion: "5.14.0-570.49.1.el9_6.x86_64",
        architecture: "x86_64",
        inferred: true,
      },
      {
        distribution: "amazonlinux2023",
        kversion: "6.1.102-108.177.amzn2023.aarch64",
        architecture: "aarch64",
      },
    ]);
  });

  test.for(["fixtures", "the shared data"])("of %s come back as they were", (place, context) => {
    const directory = place === "fixtures" ? FIXTURES : sharedFile("data/driverkit-configs");
    if (!existsSync(directory)) return context.skip("the real configurations are not beside this checkout");
    const files = configsIn(directory);

    const written = exportDriverkit(kernelsOf(files), new Map(), FALCO);

    expect(written.size).toBe(files.length);
    for (const { name, text } of files) {
      const own = name.replace(/@.*/, "").replace(/(\.yaml)?$/, ".yaml");
      const [, now] = [...written].find(([path]) => path.endsWith(`/${own}`)) ?? [];
      // Only the way to a file is told otherwise: without `..`.
      const straight = text.replace(/https?:\S+/g, (url) => parseHeaderUrl(url)?.url ?? "");
      expect(now).toBe(straight);
    }
  });

  test("of kernels without headers carry the configuration", () => {
    const text =
      "kernelversion: 1_1.26.0\nkernelrelease: 5.10.57\ntarget: minikube\narchitecture: arm64\nkernelconfigdata: QUJD\n";
    const kernels = kernelsOf([{ name: "a.yaml", text }]);

    expect(kernels).toMatchObject([{ distribution: "minikube1.26.0", architecture: "aarch64" }]);
    const [[path, written]] = [...exportDriverkit(kernels, new Map(), FALCO)] as [[string, string]];
    expect(path).toBe("7.3.0+driver/aarch64/minikube_5.10.57_1_1.26.0.yaml");
    expect(parse(written)).toMatchObject({ kernelconfigdata: "QUJD", architecture: "arm64" });
  });

  test.each([
    ["no YAML", "a: [", /object/],
    ["another document", "a: 1", /kernelversion/],
    ["a name that leads out", "kernelversion: 1\nkernelrelease: ../x\ntarget: a", /kernelrelease/],
    ["a bomb of aliases", `a: &a [1]\nb: [${"*a, ".repeat(1000)}]`, /object|kernelversion/],
  ])("that are %s are counted, and an error when nothing else is there", (_, text, reason) => {
    const good = { name: "good.yaml", text: configsIn(FIXTURES)[0]?.text ?? "" };

    const list = readDriverkit([{ name: "bad.yaml", text }, good], { url: "configs" });

    expect(list).toMatchObject({
      entries: 2,
      dropped: [{ count: 1, reason: expect.stringMatching(reason) }],
    });
    expect(() => readDriverkit([{ name: "bad.yaml", text }], { url: "bad.yaml" })).toThrow(
      expect.objectContaining({ code: "DOCUMENT_INVALID" }),
    );
  });
});
