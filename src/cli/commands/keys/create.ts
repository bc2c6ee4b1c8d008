/**
 * `kmodfarm keys create`: makes a key, and says what to write into the configuration.
 */
import { constants, openSync } from "node:fs";
import { relative, resolve } from "node:path";
import { FarmError, isErrno } from "../../../base/error.ts";
import type { Descriptor } from "../../../base/run.ts";
import { Secret } from "../../../base/secret.ts";
import { readCertificates } from "../../../farm/gate/policy-file.ts";
import { PathSegment } from "../../../kernel/path-segment.ts";
import { createKey } from "../../../signing/create.ts";
import { askPassword } from "../../../signing/password.ts";
import { ROLES } from "../../../signing/roles.ts";
import { moduleCertificate } from "../../../signing/sidecar.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { CREATE_KEY } from "./command.ts";

type Options = OptionsOf<typeof CREATE_KEY>;

export async function create(name: string, options: Options): Promise<number> {
  const { for: role, json } = options;
  if (!PathSegment.safeParse(name).success)
    throw new FarmError("USAGE", {
      detail: `'${name}' cannot be the name of a key: it is part of file names`,
    });
  const kind = options.kind ?? ROLES[role].kinds[0] ?? "p256";
  if (!ROLES[role].kinds.includes(kind))
    throw new FarmError("USAGE", {
      detail: `a key for ${role} must be ${ROLES[role].kinds.join(" or ")}, not ${kind}`,
    });
  const config = await configOf(options);
  const directory = options.to === undefined ? config.keyDirectory : resolve(options.to);
  const password = await passwordOf(name, options);
  const made = await createKey({
    ...{ name, kind, directory, hasCertificate: role === "module" },
    trusts: options.to === undefined ? [config.base] : [],
    ...(password === undefined ? {} : { password }),
  });
  const certificate =
    made.certificate === undefined ? undefined : await certificateAt(made.certificate, made.file);
  const shown = (path: string) => relative(config.base, path);
  const settings = {
    for: role,
    file: shown(made.file),
    ...(options.passwordFile === undefined ? {} : { passwordFile: shown(resolve(options.passwordFile)) }),
    ...(options.passwordEnvironment === undefined
      ? {}
      : { passwordEnvironment: options.passwordEnvironment }),
  };
  if (json) await printJson({ schema: "kmodfarm.key/1", name, kind, ...settings, certificate });
  else
    await print(
      toText(
        name,
        kind,
        settings,
        certificate === undefined ? undefined : { ...certificate, file: shown(certificate.file) },
      ),
    );
  return 0;
}

interface Certificate {
  readonly file: string;
  readonly keyId: string;
}

async function certificateAt(file: string, keyFile: string): Promise<Certificate> {
  const [first] = await readCertificates(file);
  if (first === undefined) throw new FarmError("BUG", { detail: `${keyFile} has no certificate` });
  return { file, keyId: moduleCertificate(first, file).keyId };
}

function toText(
  name: string,
  kind: string,
  settings: Readonly<Record<string, string>>,
  certificate: Certificate | undefined,
): string {
  const words = Object.entries(settings).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  const lines = [
    `Made ${settings.file}, a key of the kind ${kind}. For the configuration:`,
    "",
    "keys:",
    `  ${name}: { ${words.join(", ")} }`,
    ...(certificate === undefined
      ? []
      : [
          "signatures:",
          `  - { certificate: ${JSON.stringify(certificate.file)}, key: ${name} }`,
          "",
          `Nodes enrol ${certificate.file} (mokutil --import); its key has the identifier ${certificate.keyId}.`,
        ]),
  ];
  return `${lines.join("\n")}\n`;
}

/** Passes a password on to each program that asks for it; undefined for none. @throws FarmError USAGE, KEY_LOCKED */
async function passwordOf(
  name: string,
  { password, passwordFile, passwordEnvironment }: Options,
): Promise<(() => Descriptor) | undefined> {
  const given = [!password, passwordFile !== undefined, passwordEnvironment !== undefined];
  if (given.filter(Boolean).length > 1)
    throw new FarmError("USAGE", { detail: "a key has one password: give one of the three options for it" });
  if (!password) return undefined;
  if (passwordFile !== undefined) return () => openFile(resolve(passwordFile));
  const secret = passwordEnvironment === undefined ? await askTwice(name) : process.env[passwordEnvironment];
  if (secret === undefined || secret === "")
    throw new FarmError("KEY_LOCKED", { detail: `${passwordEnvironment} is not set, or empty` });
  return () => new Secret(secret);
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY);
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
    throw new FarmError("FILE_UNREADABLE", {
      detail: `${path} cannot be read (${thrown.code})`,
      cause: thrown,
    });
  }
}

async function askTwice(name: string): Promise<string> {
  const first = await ask(`Password for the new key ${name}: `);
  const second = await ask("The same again: ");
  if (first === second && first !== "") return first;
  throw new FarmError("USAGE", {
    detail: first === "" ? "no password was given" : "the two passwords differ",
  });
}

async function ask(question: string): Promise<string> {
  let terminal: number;
  try {
    terminal = openSync("/dev/tty", constants.O_RDWR | constants.O_NOCTTY);
  } catch (cause) {
    throw new FarmError("KEY_LOCKED", {
      detail: "there is no terminal to ask for a password",
      hint: "Give --password-file, --password-environment or --no-password.",
      cause,
    });
  }
  return askPassword(terminal, question);
}
