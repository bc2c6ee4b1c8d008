import { expect, test } from "vitest";
import { makePackage } from "../../test/support/kernels.ts";
import { MODULES, signedModule } from "../../test/support/readers.ts";
import type { BootContext } from "../check/guest/boot-image.ts";
import { readSigner } from "../check/signature.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { type JudgeRequest, judgeModules } from "./judge.ts";

const { der, module: signed } = signedModule();
const { name } = readKernelModule(signed, "x.ko");
const unsigned = splitSignature(signed, "x.ko").content;

/** A machine on which nothing can be fetched; whoever tries is found out. */
const fetched: string[] = [];
const NOWHERE = new Proxy({} as BootContext, {
  get(_, key) {
    fetched.push(String(key));
    throw new Error("nothing is to be fetched here");
  },
});

async function judged(bytes: Uint8Array, changes: Partial<JudgeRequest> = {}) {
  const files = [{ name: `${name}.ko`, bytes: Buffer.from(bytes) }];
  const kernel = { architecture: readKernelModule(signed, "x.ko").architecture };
  const request = { files, kernel, packages: { image: [] }, signers: [], ...changes };
  const verdicts = await judgeModules(request, NOWHERE);
  const { verdict, reasons } = verdicts.find(({ check }) => check === "signature") ?? { reasons: [] };
  return [verdict, ...reasons.map(({ code }) => code)];
}

test("a key that cannot be looked for leaves a signature unknown, and is no failure", async () => {
  expect(MODULES.length).toBeGreaterThan(0);
  expect(await judged(signed)).toEqual(["unknown", "unknownKey", "keysUnknown"]);
  expect(await judged(signed, { signers: [readSigner(der, "test")] })).toEqual(["pass", "signed"]);
});

test("nothing is fetched for what is not signed", async () => {
  const image = [makePackage({ name: "linux-image" })];

  expect(await judged(unsigned, { packages: { image } })).toEqual(["notApplicable", "unsigned"]);
  expect(fetched).toEqual([]);
  await expect(judged(signed, { packages: { image } })).rejects.toThrow("nothing is to be fetched here");
});
