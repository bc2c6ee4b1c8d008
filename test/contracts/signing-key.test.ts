import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../../src/base/secret.ts";
import type { KeyKind } from "../../src/provenance/public-key.ts";
import { createKey } from "../../src/signing/create.ts";
import { hostPackages } from "../support/host-packages.ts";
import { sharedDirectory } from "../support/temporary.ts";
import { PASSWORD, signingKeyContract } from "./signing-key.ts";

const place = sharedDirectory();

async function makeFile(kind: KeyKind): Promise<string> {
  const { file } = await createKey({
    ...{ name: kind, kind, directory: join(place, "keys"), hasCertificate: false },
    password: () => new Secret(PASSWORD),
  });
  return file;
}

signingKeyContract({
  name: "file",
  kinds: ["p256", "ed25519", "rsa"],
  make: async (kind) => ({ kind: "file", path: await makeFile(kind) }),
});

/** SoftHSM 2 of Debian, with a token in a directory of its own. */
const root = hostPackages("softhsm2", "libsofthsm2", "libbotan-2-19", "libengine-pkcs11-openssl", "libp11-3");
const libraries = join(root, "usr/lib/x86_64-linux-gnu");
const module = join(root, "usr/lib/softhsm/libsofthsm2.so");
const [settings, tokens] = [join(place, "softhsm.conf"), join(place, "tokens")];
mkdirSync(tokens);
writeFileSync(settings, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
const environment = {
  ...{ SOFTHSM2_CONF: settings, LD_LIBRARY_PATH: libraries },
  OPENSSL_ENGINES: join(libraries, "engines-3"),
};
const softhsm = (...argv: readonly string[]) =>
  execFileSync(join(root, "usr/bin/softhsm2-util"), ["--module", module, ...argv], {
    ...{ stdio: "pipe" as const, env: { ...process.env, ...environment } },
  });
softhsm("--init-token", "--free", "--label", "farm", "--pin", PASSWORD, "--so-pin", "of the officer");
let made = 0;

signingKeyContract({
  name: "pkcs11",
  kinds: ["p256", "rsa"],
  async make(kind) {
    const id = (++made).toString(16).padStart(4, "0");
    const algorithm =
      kind === "rsa"
        ? ["RSA", "-pkeyopt", "rsa_keygen_bits:3072"]
        : ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    const pem = join(place, `${id}.pem`);
    execFileSync("openssl", ["genpkey", "-algorithm", ...algorithm, "-out", pem], { stdio: "pipe" });
    softhsm("--import", pem, "--token", "farm", "--label", `key${id}`, "--id", id, "--pin", PASSWORD);
    return {
      ...{ kind: "pkcs11" as const, uri: `pkcs11:token=farm;object=key${id}`, module },
      ...{ reads: [root, settings], writes: [tokens], environment },
    };
  },
});
