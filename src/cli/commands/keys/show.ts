/**
 * `kmodfarm keys show`: public keys, and the certificates that nodes enrol. Keys with a password are asked for it.
 */
import { FarmError } from "../../../base/error.ts";
import { signaturesAt } from "../../../farm/config/keys.ts";
import { readCertificates } from "../../../farm/gate/policy-file.ts";
import { FarmSigning } from "../../../farm/signing/keys.ts";
import { moduleCertificate } from "../../../signing/sidecar.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { SHOW_KEYS } from "./command.ts";

type Options = OptionsOf<typeof SHOW_KEYS>;

export async function show(name: string | undefined, options: Options): Promise<number> {
  return options.certificate ? showCertificates(name, options) : showKeys(name, options);
}

async function showKeys(name: string | undefined, options: Options): Promise<number> {
  await using signing = new FarmSigning(await configOf(options));
  const isWanted = (one: { readonly name: string }) => name === undefined || one.name === name;
  const wanted = (await signing.publicKeys()).filter(isWanted);
  const identities = signing.keyless.filter(isWanted).map(({ name: own, place: { issuer, subject } }) => ({
    ...{ name: own, for: "builder" as const, issuer, subject },
  }));
  if (wanted.length + identities.length === 0) throw noSuchKey(name);
  const keys = wanted.map(({ name: own, role, key: { kind, fingerprint, key } }) => {
    const pem = key.export({ format: "pem", type: "spki" }).toString();
    return { name: own, for: role, kind, fingerprint, pem };
  });
  if (options.json) await printJson({ schema: "kmodfarm.keys/1", keys, identities });
  else
    await print(
      [
        ...keys.map((one) => `${one.name}: for ${one.for}, ${one.kind}, ${one.fingerprint}\n${one.pem}`),
        ...identities.map(
          (one) => `${one.name}: for ${one.for}, without a key: ${one.subject} of ${one.issuer}\n`,
        ),
      ].join("\n"),
    );
  return 0;
}

async function showCertificates(name: string | undefined, options: Options): Promise<number> {
  const { signatures, drivers, base } = await configOf(options);
  const all = [...signatures, ...drivers.flatMap((driver) => signaturesAt(base, driver.signatures ?? []))];
  const wanted = all.filter(({ key }) => name === undefined || key === name);
  if (wanted.length === 0) throw noSuchKey(name);
  const byFile = new Map(wanted.map((one) => [one.certificate, one]));
  const certificates = await Promise.all(
    [...byFile.values()].map(async ({ certificate: file, key }) => {
      const [first] = await readCertificates(file);
      if (first === undefined) throw noSuchKey(name);
      const { keyId, certificate } = moduleCertificate(first, file);
      return { key, file, keyId, subject: certificate.subject, pem: certificate.toString() };
    }),
  );
  if (options.json) await printJson({ schema: "kmodfarm.certificates/1", certificates });
  else
    await print(
      certificates
        .map(
          ({ key, file, keyId, subject, pem }) =>
            `${file}: of the key ${key}, identifier ${keyId}, ${subject}\n${pem}`,
        )
        .join("\n"),
    );
  return 0;
}

function noSuchKey(name: string | undefined): FarmError {
  return new FarmError("USAGE", {
    detail:
      name === undefined ? "nothing of that kind is configured" : `nothing is configured for the key ${name}`,
    hint: "Name keys in `keys` of the configuration, and certificates in `signatures`.",
  });
}
