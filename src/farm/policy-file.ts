/**
 * The policy file: YAML, strict, with an error that names the setting.
 */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { FarmError } from "../base/error.ts";
import { Policy } from "../check/policy.ts";
import { readSigner, type Signer } from "../check/signature.ts";
import { readYaml } from "../formats/yaml.ts";
import { describeProblems } from "./config/problems.ts";

export interface ConfiguredPolicy {
  readonly policy: Policy;
  /** Whose signatures count, as the policy names them. */
  readonly signers: readonly Signer[];
}

/** @throws FarmError FILE_UNREADABLE, CONFIG_INVALID */
export async function readPolicy(file: string): Promise<ConfiguredPolicy> {
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
  const signers = parsed.data.signers.map((name) => readCertificates(resolve(dirname(file), name)));
  return { policy: parsed.data, signers: (await Promise.all(signers)).flat() };
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** One certificate in DER, or all that a PEM file holds. @throws FarmError FILE_UNREADABLE */
export async function readCertificates(file: string): Promise<Signer[]> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", { detail: `${file} cannot be read (${cause.code})`, cause });
  });
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
