/**
 * The policy file: YAML, strict, with an error that names the setting.
 */
import { X509Certificate } from "node:crypto";
import { dirname, resolve } from "node:path";
import { FarmError } from "../../base/error.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { type CountingNames, DEFAULT_POLICY, Policy } from "../../check/policy.ts";
import { readSigner, type Signer } from "../../check/signature.ts";
import { readYaml } from "../../formats/yaml.ts";
import { builderKeys, type TrustedBuilder } from "../../provenance/builder.ts";
import { type PublicKey, publicKeyFromPem } from "../../provenance/public-key.ts";
import { describeProblems } from "../config/problems.ts";
import { certifiedByFile } from "../signing/identity.ts";

const FILE_LIMIT_BYTES = 4 * 1024 * 1024;

export interface ConfiguredPolicy extends CountingNames {
  readonly policy: Policy;
  /** Whose statements of rebuilds are kept. */
  readonly rebuilders: readonly PublicKey[];
}

/** Where no policy is configured. */
export function defaultPolicy(builders: readonly TrustedBuilder[]): ConfiguredPolicy {
  const keys = builderKeys(builders);
  const rebuilds = { of: 1, by: keys, notTheBuilder: false };
  return { policy: DEFAULT_POLICY, signers: [], builders, rebuilders: keys, rebuilds };
}

/** `own`: whose statements count where the policy does not say. @throws FarmError FILE_UNREADABLE, CONFIG_INVALID, KEY_UNREADABLE */
export async function readPolicy(
  file: string,
  own: () => Promise<readonly TrustedBuilder[]> = async () => [],
): Promise<ConfiguredPolicy> {
  const text = await readAtMost(file, FILE_LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the policy ${file} cannot be read (${cause.code})`,
      cause,
    });
  });
  const yaml = readYaml(String(text));
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
  const builders = policy.builders?.map(
    async ({ id, key, keyless }): Promise<TrustedBuilder> =>
      keyless === undefined
        ? { id, key: await readPublicKey(placeOf(key ?? "")) }
        : certifiedByFile(id, { ...keyless, roots: placeOf(keyless.roots) }),
  );
  const keysAt = async (names: readonly string[]) =>
    distinct(await Promise.all(names.map((name) => readPublicKey(placeOf(name)))));
  const { of = 1, by, notTheBuilder = false } = policy.reproducible ?? {};
  const named = by === undefined ? undefined : await keysAt(by);
  const others = await keysAt(policy.rebuilders ?? []);
  const farm = policy.builders === undefined || named === undefined ? await own() : [];
  const counting = named ?? distinct([...others, ...builderKeys(farm)]);
  if (named !== undefined && named.length < of)
    throw invalid(`reproducible: ${of} are wanted, but \`by\` has only ${named.length} distinct keys`);
  return {
    ...{ policy, signers: signers.flat() },
    builders: builders === undefined ? farm : await Promise.all(builders),
    rebuilders: distinct([...others, ...counting]),
    rebuilds: { of, by: counting, notTheBuilder },
  };
}

/** One key in two files is one key. */
function distinct(keys: readonly PublicKey[]): PublicKey[] {
  return [...new Map(keys.map((key) => [key.fingerprint, key])).values()];
}

async function readPublicKey(file: string): Promise<PublicKey> {
  return publicKeyFromPem((await readNamed(file)).toString("latin1"), file);
}

function readNamed(file: string): Promise<Buffer> {
  return readAtMost(file, FILE_LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
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
