/**
 * The policy file: YAML, strict, with an error that names the setting.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { FarmError } from "../base/error.ts";
import { type CountingNames, Policy } from "../check/policy.ts";
import type { TrustedBuilder } from "../check/provenance.ts";
import { readSigner, type Signer } from "../check/signature.ts";
import { readYaml } from "../formats/yaml.ts";
import { type PublicKey, publicKeyFromPem } from "../provenance/public-key.ts";
import { describeProblems } from "./config/problems.ts";

export interface ConfiguredPolicy extends CountingNames {
  readonly policy: Policy;
}

/** `own`: whose statements count where the policy does not say. @throws FarmError FILE_UNREADABLE, CONFIG_INVALID, KEY_UNREADABLE */
export async function readPolicy(
  file: string,
  own: () => Promise<readonly TrustedBuilder[]> = async () => [],
): Promise<ConfiguredPolicy> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the policy ${file} cannot be read (${cause.code})`,
      cause,
    });
  });
  const yaml = readYaml(text);
  const invalid = (fact: string) =>
    new FarmError("CONFIG_INVALID", {
      detail: `${file}: ${fact}`,
      hint: "Correct the named setting; docs/policy.md lists all of them.",
    });
  if (yaml.kind === "refused") throw invalid(yaml.fault);
  const parsed = Policy.safeParse(yaml.value ?? {});
  if (!parsed.success) throw invalid(describeProblems(parsed.error, Policy, yaml.value));
  const { data: policy } = parsed;
  const placeOf = (name: string) => resolve(dirname(file), name);
  const signers = await Promise.all(policy.signers.map((name) => readCertificates(placeOf(name))));
  const builders = policy.builders?.map(async ({ id, key }) => ({
    id,
    key: await readPublicKey(placeOf(key)),
  }));
  return {
    ...{ policy, signers: signers.flat() },
    builders: builders === undefined ? await own() : await Promise.all(builders),
  };
}

async function readPublicKey(file: string): Promise<PublicKey> {
  return publicKeyFromPem((await readNamed(file)).toString("latin1"), file);
}

function readNamed(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", { detail: `${file} cannot be read (${cause.code})`, cause });
  });
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** One certificate in DER, or all that a PEM file holds. @throws FarmError FILE_UNREADABLE */
export async function readCertificates(file: string): Promise<Signer[]> {
  const bytes = await readNamed(file);
  try {
    const bundle = bytes.toString("latin1").match(PEM) ?? [bytes];
    return bundle.map((one) => readSigner(new X509Certificate(one).raw, file));
  } catch (cause) {
    const key = /-----BEGIN ((?:[A-Z]+ )?(?:PRIVATE|PUBLIC) KEY)-----/.exec(bytes.toString("latin1"))?.[1];
    throw new FarmError("FILE_UNREADABLE", {
      detail: `${file} is ${key === undefined ? "not a certificate" : `a ${key.toLowerCase()}, not a certificate`}`,
      hint: "Give a certificate in PEM or DER format, for example the one that sign-file used.",
      cause,
    });
  }
}
