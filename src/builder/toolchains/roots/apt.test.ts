import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startServer } from "../../../../test/support/server.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import { hostArchitecture } from "../../../kernel/architecture.ts";
import { apt } from "./apt.ts";

test.each([301, 302, 303, 307, 308])(
  "a mirror that answers %i leads apt nowhere, and that is said",
  async (status) => {
    const elsewhere = await startServer((_, response) => response.end("for this machine only"));
    const mirror = await startServer((_, response) =>
      response.writeHead(status, { location: `${elsewhere.url}/admin` }).end(),
    );
    const directory = await temporaryDirectory();
    const [root, work, keyring] = ["root", "work", "keyring.gpg"].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    await mkdir(work);
    await writeFile(keyring, "");
    const line = { url: `${mirror.url}/debian`, suite: "bookworm", components: ["main"] };

    const made = apt.make(
      {
        ...{ what: "debian12", builder: hostArchitecture(process.arch), isEmulated: false },
        ...{ packages: [], lock: new Map(), root, work, kept: join(directory, "kept") },
      },
      { format: "deb", lines: [line], keyring, acceptExpired: false },
      {} as never,
    );

    await expect(made).rejects.toMatchObject({
      code: "REMOTE_UNAVAILABLE",
      message: expect.stringContaining("does not follow redirects"),
    });
    expect(mirror.requests.length).toBeGreaterThan(0);
    expect(elsewhere.requests).toEqual([]);
  },
);
