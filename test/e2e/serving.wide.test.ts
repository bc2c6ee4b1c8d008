/** A registry as docs/serving.md says to serve it: by Debian's nginx, and by a copy that rsync makes of it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { blobPath } from "../../src/registry/blobs.ts";
import { hostPackages } from "../support/host-packages.ts";
import { CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { blockOf, given, makeHost, makeNodeRegistry, moduleOf, UNAME } from "../support/node-registry.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const SERVE = join(import.meta.dirname, "../../deploy/serve");
const HOST = hostPackages("nginx", "libpcre2-8-0", "rsync", "libpopt0", "libxxhash0");
const LIBRARIES = {
  LD_LIBRARY_PATH: join(HOST, "usr/lib", `${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu`),
};
const ONCE = "public, max-age=31536000, immutable";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The configuration as it is shipped, but for where it listens and where the store lies. */
async function startNginx(directory: string): Promise<string> {
  const port = await freePort();
  const place = await temporaryDirectory();
  const shipped = readFileSync(join(SERVE, "nginx.conf"), "utf8");
  const changed = shipped
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replace("root /srv/kmodfarm;", `root ${directory};`);
  expect([changed.includes("listen 80"), changed.includes("/srv/kmodfarm;")]).toEqual([false, false]);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${place}/${name};`,
  );
  // As root, nginx would become somebody who cannot reach directories of tests.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  await writeFile(
    join(place, "nginx.conf"),
    `${user} daemon off; pid ${place}/pid; error_log ${place}/errors; events {}
     http { access_log off; ${temporary.join(" ")}\n${changed}}\n`,
  );
  const nginx = spawn(join(HOST, "usr/sbin/nginx"), ["-p", place, "-c", join(place, "nginx.conf")], {
    stdio: ["ignore", "inherit", "inherit"],
    env: LIBRARIES,
  });
  const ended = once(nginx, "exit");
  onTestFinished(async () => {
    nginx.kill("SIGTERM");
    await ended;
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    if (
      await fetch(url).then(
        () => true,
        () => false,
      )
    )
      return url;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(readFileSync(join(place, "errors"), "utf8"));
}

/** A store of every kind of file that a store has, those that nobody may see among them. */
async function makeStore() {
  const directory = await temporaryDirectory();
  const registry = await makeNodeRegistry(join(directory, "store"));
  const answer = await given(registry);
  await registry.publish([blockOf(answer)]);
  const blob = await registry.put(moduleOf("one"));
  const put = async (path: string) => {
    await mkdir(join(registry.directory, path, ".."), { recursive: true });
    await writeFile(join(registry.directory, path), `what ${path} has`);
  };
  const served = {
    once: ["generations/1/generation.json", "metadata/heads/1", "metadata/log/tile/0/000.p/7"],
    changing: ["view/doorbell/0.1/debian12/x86_64/6.1.0-56-amd64_6.1.170-3+b1/build.log"],
    pointers: ["channels/stable", "metadata/log/checkpoint"],
  };
  const never = [
    "private/sha256/ab/abcd",
    "marks/0123456789abcdef.json",
    "probe/one",
    ".tmp/one/two",
    "README",
  ];
  for (const path of [...Object.values(served).flat(), ...never]) await put(path);
  await writeFile(join(directory, "beside"), "beside the store");
  served.once.push(blobPath(blob.digest), "metadata/root/1");
  served.pointers.push("metadata/head");
  return { directory, store: registry.directory, registry, served, never, blob: blobPath(blob.digest) };
}

/** What is answered to a path as it stands here: `fetch` would resolve its dots. */
async function statusOf(url: string, path: string): Promise<number | undefined> {
  const [answer] = (await once(request(url, { path: `/${path}` }).end(), "response")) as [IncomingMessage];
  answer.resume();
  return answer.statusCode;
}

const encoded = (path: string) => path.split("/").map(encodeURIComponent).join("/");

test("nginx serves what nodes read and nothing else, and says how long each may be kept", async () => {
  const { directory, store, served, never, blob } = await makeStore();
  await symlink(join(store, "private/sha256/ab/abcd"), join(store, "view/link"));
  const url = await startNginx(directory);
  const get = async (path: string, headers: Record<string, string> = {}, method = "GET") => {
    const answer = await fetch(`${url}/${path}`, { headers, method, redirect: "manual" });
    return {
      status: answer.status,
      cache: answer.headers.get("cache-control"),
      headers: answer.headers,
      body: await answer.bytes(),
    };
  };

  for (const [kind, cache] of [
    ["once", ONCE],
    ["changing", "no-cache"],
    ["pointers", "no-store"],
  ] as const)
    for (const path of served[kind]) {
      const answer = await get(`store/${encoded(path)}`);
      expect([path, answer.status, answer.cache]).toEqual([path, 200, cache]);
      expect(Buffer.from(answer.body).equals(await readFile(join(store, path)))).toBe(true);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    }

  const hidden = never.map((path) => `store/${path}`);
  const directories = [
    "",
    "store",
    "store/",
    "store/blobs",
    "store/blobs/",
    "store/blobs/sha256/",
    "store/view/",
    "store/view/doorbell",
    "store/metadata/",
    "store/metadata/root/",
  ];
  const around = [
    "beside",
    "store/view/link",
    "store/view/../private/sha256/ab/abcd",
    "store/view/%2e%2e/private/sha256/ab/abcd",
    "store/view/..%2fprivate/sha256/ab/abcd",
    "store/blobs/sha256//../../private/sha256/ab/abcd",
    "STORE/metadata/head",
    "store/metadata/head/",
    "store/metadata/headx",
    "store/channels/other",
  ];
  const paths = [...hidden, ...directories, ...around];
  const statuses = await Promise.all(paths.map(async (path) => [path, await statusOf(`${url}/`, path)]));
  expect(statuses).toEqual(paths.map((path) => [path, 404]));

  // A node asks for the next root each time: that there is none yet must not be kept.
  for (const path of ["store/metadata/root/2", "store/blobs/sha256/00/00"]) {
    const { status, cache } = await get(path);
    expect([status, cache]).toEqual([404, "no-store"]);
  }
  for (const method of ["POST", "PUT", "DELETE"])
    expect([403, 405]).toContain((await get("store/metadata/head", {}, method)).status);

  const whole = await readFile(join(store, blob));
  const range = await get(`store/${blob}`, { range: "bytes=100-199" });
  expect([range.status, range.cache, Buffer.from(range.body).equals(whole.subarray(100, 200))]).toEqual([
    206,
    ONCE,
    true,
  ]);
  expect(range.headers.get("content-range")).toBe(`bytes 100-199/${whole.length}`);
  const packed = await get(`store/${blob}`, { "accept-encoding": "gzip" });
  expect(packed.headers.get("content-encoding")).toBeNull();

  const view = `store/${encoded(served.changing[0] as string)}`;
  const tag = (await get(view)).headers.get("etag") as string;
  expect((await get(view, { "if-none-match": tag })).status).toBe(304);
  const head = await get("store/metadata/head", { "if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT" });
  expect([head.status, head.headers.get("etag"), head.headers.get("last-modified")]).toEqual([
    200,
    null,
    null,
  ]);
});

test("a node fetches through nginx, from a store and from its copy", async () => {
  const { directory, store, never } = await makeStore();
  const mirror = await temporaryDirectory();
  const copy = () =>
    execFileSync(join(SERVE, "mirror.sh"), [store, join(mirror, "store")], {
      env: { PATH: `${join(HOST, "usr/bin")}:${SYSTEM_PATH}`, ...LIBRARIES },
    });
  copy();

  for (const place of [directory, mirror]) {
    const host = await makeHost();
    const url = `${await startNginx(place)}/store`;
    const said = execFileSync(
      "dash",
      [CLIENT, "doorbell", "--registry", url, "--host-root", host, "--to", join(host, "modules")],
      {
        encoding: "utf8",
        env: { PATH: SYSTEM_PATH },
      },
    );

    expect(said).toMatch(/^exact: doorbell 0\.1\.1 is in /);
    expect(await readFile(join(host, "modules/doorbell/doorbell.ko"))).toEqual(moduleOf("one"));
  }

  expect((await readdir(join(mirror, "store"))).toSorted()).toEqual([
    "blobs",
    "channels",
    "generations",
    "metadata",
    "view",
  ]);
  expect(never.filter((path) => existsSync(join(mirror, "store", path)))).toEqual([]);
});

test("a copy that breaks off leaves the registry of before, and the next one goes on", async () => {
  const { store, registry } = await makeStore();
  const mirror = join(await temporaryDirectory(), "store");
  const tools = await temporaryDirectory();
  const log = join(tools, "log");
  // Writes down what is sent, and breaks off at the view if told so.
  await writeFile(
    join(tools, "rsync"),
    `#!/bin/sh\necho "$*" >>${log}\ncase $BREAK/$* in view/*" view/ "*) exit 12 ;; esac\nexec ${join(HOST, "usr/bin/rsync")} "$@"\n`,
    { mode: 0o755 },
  );
  const copy = (at: string) =>
    execFileSync(join(SERVE, "mirror.sh"), [store, mirror], {
      env: { PATH: `${tools}:${SYSTEM_PATH}`, BREAK: at, ...LIBRARIES },
      stdio: ["ignore", "pipe", "pipe"],
    });
  const headOf = (place: string) => readFileSync(join(place, "metadata/head"), "utf8");
  copy("");
  const before = headOf(mirror);
  await registry.publish([blockOf(await given(registry, { version: "0.1.2" }), { release: UNAME.release })]);

  expect(() => copy("view")).toThrow();
  expect([headOf(mirror), headOf(store) === before]).toEqual([before, false]);
  copy("");
  expect(headOf(mirror)).toBe(headOf(store));
  const order = readFileSync(log, "utf8")
    .split("\n")
    .slice(0, 6)
    .map((line) => line.split(" ").at(-2));
  expect(order).toEqual([
    "blobs/",
    "generations/",
    "metadata/root/",
    "metadata/heads/",
    "metadata/log/tile/",
    "view/",
  ]);
});
