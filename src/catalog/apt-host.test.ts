import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { readHostMirrors } from "./apt-host.ts";

/** A directory like /etc/apt with the given files; `HERE` in them stands for its path. */
async function aptDirectory(files: Record<string, string>): Promise<string> {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "sources.list.d"));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text.replaceAll("HERE", directory));
  }
  return directory;
}

describe("readHostMirrors", () => {
  test("reads one-line entries", async () => {
    const directory = await aptDirectory({
      "sources.list": `
        # deb http://commented.example/debian bookworm main
        deb http://mirror.example/debian/ bookworm main contrib # the closest one
        deb-src http://sources.example/debian bookworm main
        deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://security.example/debian-security bookworm-security main`,
    });

    expect(await readHostMirrors(directory)).toEqual({
      main: "http://mirror.example/debian",
      security: "http://security.example/debian-security",
    });
  });

  test("reads the deb822 form", async () => {
    const directory = await aptDirectory({
      "sources.list.d/debian.sources": `
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main non-free-firmware`,
    });

    expect(await readHostMirrors(directory)).toEqual({
      main: "http://mirror.example/debian",
      security: "http://mirror.example/debian-security",
    });
  });

  test("reads the mirror lists of cloud images", async () => {
    const directory = await aptDirectory({
      "mirrors.list": "\nhttps://mirror.example/debian/\nhttps://second.example/debian\n",
      "sources.list.d/debian.sources":
        "Types: deb\nURIs: mirror+file:HERE/mirrors.list\nSuites: bookworm\nComponents: main\n",
      "sources.list.d/security.list": "deb mirror+file:HERE/none.list bookworm-security main\n",
    });

    expect(await readHostMirrors(directory)).toEqual({ main: "https://mirror.example/debian" });
  });

  test("takes the first of several mirrors, main file before the others", async () => {
    const directory = await aptDirectory({
      "sources.list": "deb http://first.example/debian bookworm main\n",
      "sources.list.d/a.list": "deb http://second.example/debian trixie main\n",
    });

    expect(await readHostMirrors(directory)).toEqual({ main: "http://first.example/debian" });
  });

  test.each([
    ["somebody else's repository", "a.list", "deb http://packages.example/linux/chrome stable main"],
    ["a key of somebody else", "a.list", "deb [signed-by=/etc/k.gpg] http://m.example/debian bookworm main"],
    [
      "an embedded key",
      "a.sources",
      "Types: deb\nURIs: http://m.example/debian\nSuites: stable\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==",
    ],
    [
      "a disabled entry",
      "a.sources",
      "Enabled: no\nTypes: deb\nURIs: http://m.example/debian\nSuites: stable\nComponents: main",
    ],
    [
      "sources only",
      "a.sources",
      "Types: deb-src\nURIs: http://m.example/debian\nSuites: stable\nComponents: main",
    ],
    ["another component", "a.list", "deb http://m.example/debian bookworm contrib"],
    ["another protocol", "a.list", "deb file:/srv/debian bookworm main"],
    ["a file that apt does not read", "a.list.save", "deb http://m.example/debian bookworm main"],
    ["an entry that is cut off", "a.list", "deb http://m.example/debian bookworm"],
  ])("ignores %s", async (_, name, text) => {
    const directory = await aptDirectory({ [`sources.list.d/${name}`]: text });

    expect(await readHostMirrors(directory)).toEqual({});
  });

  test("finds nothing where there is no apt", async () => {
    expect(await readHostMirrors("/nonexistent")).toEqual({});
  });
});
