/**
 * Real servers of S3 on this machine, from Debian's own packages: Ceph's radosgw, which creates an object only where none is;
 * OpenStack Swift, which refuses to; and radosgw with its `dbstore`, which takes no notice of the wish. Where the programs
 * are missing there is a sentence instead.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { isInstalled } from "../../src/base/programs.ts";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";
import { debianRoot } from "./debian-root.ts";
import { TEST_CACHE } from "./e2e-mirror.ts";

export interface S3Server {
  readonly endpoint: string;
  /** What the SDK finds credentials in. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const run = promisify(execFile);
const MINUTES = 60_000;

const KEYS = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "testing", AWS_REGION: "us-east-1" };
export const BUCKET = "farm";

/** The same server with a bucket, and its credentials in this process. */
export async function withBucket(server: S3Server): Promise<S3Server> {
  Object.assign(process.env, server.env);
  const client = new S3Client({ endpoint: server.endpoint, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
  return server;
}

/** Somewhere in that bucket, where nobody was before. */
export function placeOf({ endpoint }: Pick<S3Server, "endpoint">, prefix = randomBytes(6).toString("hex")) {
  return { endpoint, prefix, bucket: BUCKET, pathStyle: true };
}

/** Text of a module that opens a store there. */
export function openElsewhere(place: ReturnType<typeof placeOf>): string {
  const source = new URL("../../src/registry/stores/s3.ts", import.meta.url).href;
  return `
    import { openS3Store } from ${JSON.stringify(source)};
    const store = await openS3Store(${JSON.stringify(place)});`;
}

const RADOSGW_UP = fileURLToPath(new URL("radosgw-up.sh", import.meta.url));

/** Why there is no radosgw here; undefined where there is one. */
export function radosgwFault(): string | undefined {
  const missing = ["radosgw", "ceph-mon", "ceph-osd", "ceph-authtool"].filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  return `not installed: ${missing.join(", ")} (apt-get install radosgw ceph-mon ceph-osd ceph-common)`;
}

export interface Radosgw extends S3Server {
  /** Credentials of another user, who may do nothing before a policy allows it. */
  addUser(name: string): Promise<Readonly<Record<string, string>>>;
}

/** Takes 16 to 40 seconds. */
export async function startRadosgw(port = 17480): Promise<Radosgw> {
  const directory = await mkdtemp(join(tmpdir(), "kmodfarm-radosgw-"));
  const stop = async () => {
    await run(RADOSGW_UP, [directory, "down"]);
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 300 });
  };
  try {
    await run(RADOSGW_UP, [directory, String(port)], { timeout: 5 * MINUTES });
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  const addUser = async (name: string) => {
    const [access, secret] = [12, 24].map((bytes) => randomBytes(bytes).toString("hex")) as [string, string];
    const user = [`--uid=${name}`, `--display-name=${name}`, `--access-key=${access}`];
    await run("radosgw-admin", ["user", "create", ...user, `--secret-key=${secret}`], {
      env: { ...process.env, CEPH_CONF: join(directory, "ceph.conf") },
    });
    return { ...KEYS, AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret };
  };
  return { endpoint: `http://127.0.0.1:${port}`, env: KEYS, addUser, stop };
}

/** Why there is no dbstore here: Debian 12 has a radosgw without one, so it runs in a root of trixie. */
export function dbstoreFault(): string | undefined {
  if (!isInstalled("mmdebstrap")) return "not installed: mmdebstrap";
  return process.getuid?.() === 0 ? undefined : "only root may enter a root of another release";
}

/** Its root takes two minutes the first time, the server itself half a second. */
export async function startDbstore(port = 17680): Promise<S3Server> {
  const { main } = await readHostMirrors();
  const root = await debianRoot(join(TEST_CACHE, "s3", "trixie-radosgw"), {
    ...{ codename: "trixie", variant: "apt", packages: ["radosgw"] },
    sources: [`deb ${main ?? debian.mirrors.main} trixie main`],
  });
  const directory = await mkdtemp(join(root, "srv", "dbstore-"));
  const inside = `/${relative(root, directory)}`;
  const settings = {
    ...{ auth_cluster_required: "none", auth_service_required: "none", auth_client_required: "none" },
    ...{ rgw_backend_store: "dbstore", rgw_config_store: "dbstore" },
    ...{ dbstore_db_dir: inside, rgw_data: inside, run_dir: inside },
    ...{ admin_socket: "", pid_file: "", log_file: "", no_mon_config: "true" },
    rgw_frontends: `beast endpoint=127.0.0.1:${port}`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  await writeFile(join(directory, "ceph.conf"), `[global]\n${lines.join("")}`);
  const common = ["--no-mon-config", "-c", `${inside}/ceph.conf`];
  const child = spawn("chroot", [root, "radosgw", "-f", "-n", "client.rgw", ...common], { stdio: "ignore" });
  const stop = async () => {
    child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 300 });
  };
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await answers(endpoint);
    const user = ["--uid=test", "--display-name=test", "--access-key=test", "--secret-key=testing"];
    await run("chroot", [root, "radosgw-admin", ...common, "user", "create", ...user]);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { endpoint, env: KEYS, stop };
}

/** Waits until a server does. */
async function answers(url: string): Promise<void> {
  const isUp = () =>
    fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
  for (let tries = 0; !(await isUp()); tries++) {
    if (tries === 900) throw new Error(`${url} does not answer after three minutes`);
    await sleep(200);
  }
}

/** Why there is no Swift here; undefined where there is one. */
export function swiftFault(): string | undefined {
  const programs = ["proxy", "account", "container", "object"].map((name) => `swift-${name}-server`);
  const missing = [...programs, "swift-ring-builder", "memcached"].filter((name) => !isInstalled(name));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(", ")}`;
}

const PARTS = ["account", "container", "object"] as const;

/** In `/etc/swift` go the rings and the hash: Swift looks nowhere else. */
export async function startSwift(port = 17580): Promise<S3Server> {
  const directory = await mkdtemp("/var/tmp/kmodfarm-swift-");
  const etc = "/etc/swift";
  await mkdir(join(directory, "devices", "d1"), { recursive: true });
  await mkdir(etc, { recursive: true });
  await writeFile(join(etc, "swift.conf"), "[swift-hash]\nswift_hash_path_suffix = kmodfarm\n");
  const children: ChildProcess[] = [];
  const start = (program: string, args: readonly string[]) => {
    children.push(spawn(program, args, { stdio: "ignore" }));
  };
  const common = `bind_ip = 127.0.0.1\nworkers = 0\nuser = root\nswift_dir = ${etc}\ndevices = ${directory}/devices\nmount_check = false\n`;
  const makePart = async (part: (typeof PARTS)[number], index: number) => {
    const own = port + 1 + index;
    const builder = join(etc, `${part}.builder`);
    await rm(builder, { force: true });
    for (const args of [["create", "4", "1", "0"], ["add", `r1z1-127.0.0.1:${own}/d1`, "1"], ["rebalance"]])
      await run("swift-ring-builder", [builder, ...args]);
    const file = join(directory, `${part}.conf`);
    await writeFile(
      file,
      `[DEFAULT]\nbind_port = ${own}\n${common}[pipeline:main]\npipeline = ${part}-server\n[app:${part}-server]\nuse = egg:swift#${part}\n`,
    );
    start(`swift-${part}-server`, [file]);
  };
  await Promise.all(PARTS.map(makePart));
  const cache = port + 9;
  start("memcached", ["-l", "127.0.0.1", "-p", String(cache), "-u", "nobody"]);
  const filters =
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo";
  const sections = filters.split(" ").map((name) => {
    const more = {
      cache: `memcache_servers = 127.0.0.1:${cache}\n`,
      tempauth: "user_test_tester = testing .admin\n",
      s3api: "location = us-east-1\ndns_compliant_bucket_names = false\n",
    }[name];
    const egg = name === "cache" ? "memcache" : name;
    return `[filter:${name}]\nuse = egg:swift#${egg}\n${more ?? ""}`;
  });
  const proxy = join(directory, "proxy.conf");
  await writeFile(
    proxy,
    `[DEFAULT]\nbind_port = ${port}\n${common}[pipeline:main]\npipeline = ${filters} proxy-server\n[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n${sections.join("")}`,
  );
  start("swift-proxy-server", [proxy]);
  const stop = async () => {
    for (const child of children) child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 300 });
  };
  const endpoint = `http://127.0.0.1:${port}`;
  await answers(`${endpoint}/healthcheck`).catch(async (thrown) => {
    await stop();
    throw thrown;
  });
  return { endpoint, env: { ...KEYS, AWS_ACCESS_KEY_ID: "test:tester" }, stop };
}
