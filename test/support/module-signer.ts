/** Somebody who signs modules: a key of our own making, and OpenSSL as `sign-file` uses it. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { keyIdOf } from "../../src/check/signature.ts";
import { signatureTrailer } from "../../src/formats/module-signature.ts";
import { cli } from "./e2e-farm.ts";

export interface ModuleSigner {
  /** File of its certificate, in DER. */
  readonly certificate: string;
  /** As /proc/keys shows it. */
  readonly keyId: string;
  /** What follows a module that it signed. */
  readonly sidecar: (module: Buffer) => Promise<Buffer>;
}

export async function makeModuleSigner(directory: string, name: string): Promise<ModuleSigner> {
  const config = join(directory, `${name}.yaml`);
  await writeFile(config, JSON.stringify({ drivers: [], keyDirectory: ".", store: "store", cache: "cache" }));
  const made = await cli(["keys", "create", name, "--for", "module", "--no-password", "--config", config], {
    cwd: directory,
  });
  if (made.exitCode !== 0) throw new Error(made.stderr);
  const at = (ending: string) => join(directory, `${name}.${ending}`);
  execFileSync("openssl", ["x509", "-inform", "DER", "-in", at("der"), "-out", at("crt")]);
  const certificate = new X509Certificate(await readFile(at("der")));
  return {
    certificate: at("der"),
    keyId: keyIdOf(certificate)?.toString("hex") ?? "",
    async sidecar(module) {
      // Modules of one driver are signed side by side.
      const own = await mkdtemp(at("signing-"));
      const [content, signed] = [join(own, "content"), join(own, "cms")];
      await writeFile(content, module);
      const flags = ["-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha256", "-outform", "DER"];
      const files = ["-signer", at("crt"), "-inkey", at("pem"), "-in", content, "-out", signed];
      execFileSync("openssl", ["cms", "-sign", ...flags, ...files]);
      const cms = await readFile(signed);
      return Buffer.concat([cms, signatureTrailer(cms)]);
    },
  };
}
