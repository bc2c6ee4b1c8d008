/** The client in POSIX sh with the OpenSSL of other releases, from the oldest that nodes still have to one to come. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { debianRoot } from "../support/debian-root.ts";
import { TEST_CACHE } from "../support/e2e-mirror.ts";
import { CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { sharedDirectory } from "../support/temporary.ts";
import { nodeClientContract } from "./node-client.ts";

const { main = debian.mirrors.main } = await readHostMirrors();
const above = sharedDirectory();

for (const { version, codename, suites, packages } of [
  { version: "1.1.1", codename: "bullseye", suites: ["bullseye"], packages: ["openssl"] },
  { version: "3.5", codename: "trixie", suites: ["trixie"], packages: ["openssl"] },
  {
    ...{ version: "4.0", codename: "sid", suites: ["sid", "experimental"] },
    packages: await inExperimental("openssl", "libssl4"),
  },
]) {
  const root = await debianRoot(join(TEST_CACHE, "openssl", version), {
    ...{ codename, variant: "extract", packages },
    // Which bytes they are is what matters here, not whether they are the newest.
    sources: suites.map((suite) => `deb [check-valid-until=no] ${main} ${suite} main`),
  });
  const tools = join(above, version);
  const program = join(tools, "openssl");
  mkdirSync(tools);
  const directories = ["lib", "usr/lib"].map((one) => join(root, one, "x86_64-linux-gnu")).filter(existsSync);
  writeFileSync(
    program,
    `#!/bin/sh
export OPENSSL_CONF=${root}/etc/ssl/openssl.cnf
exec ${loaderIn(directories)} --library-path ${directories.join(":")} ${root}/usr/bin/openssl "$@"
`,
  );
  chmodSync(program, 0o755);

  test(`OpenSSL is ${version}`, () => {
    expect(execFileSync(program, ["version"], { encoding: "utf8" })).toMatch(
      new RegExp(`^OpenSSL ${version}`),
    );
  });
  nodeClientContract({
    ...{ name: `dash, OpenSSL ${version}`, argv: ["dash", CLIENT], path: `${tools}:${SYSTEM_PATH}` },
    extent: "short",
  });
}

/** Its name differs, and the usual one is a link out of the root. */
function loaderIn(directories: readonly string[]): string {
  const files = directories.flatMap((directory) =>
    readdirSync(directory).map((name) => join(directory, name)),
  );
  const found = files.find(
    (file) => /\/ld-(linux-x86-64\.so\.2|[\d.]+\.so)$/.test(file) && lstatSync(file).isFile(),
  );
  if (found === undefined) throw new Error(`no loader in ${directories.join(", ")}`);
  return found;
}

/** Packages with the version that experimental has, since apt takes another one unless it is named. */
async function inExperimental(...names: readonly string[]): Promise<string[]> {
  const answer = await fetch(`${main}/dists/experimental/main/binary-amd64/Packages.xz`);
  const input = Buffer.from(await answer.arrayBuffer());
  const index = execFileSync("xz", ["-dc"], { input, maxBuffer: 1 << 28, encoding: "utf8" });
  return names.map((name) => {
    const [, version] = new RegExp(`^Package: ${name}\n(?:.+\n)*?Version: (.+)$`, "m").exec(index) ?? [];
    return `${name}=${version}`;
  });
}
