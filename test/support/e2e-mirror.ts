/**
 * A mirror on the loopback device that passes on what the host's own mirror has, remembers it on disk, counts
 * who asked for what, and misbehaves when told to.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { EnvHttpProxyAgent, interceptors, request } from "undici";
import { readHostMirrors } from "../../src/catalog/apt-host.ts";
import { debian } from "../../src/kernel/distributions/debian.ts";

export const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** What tests keep between each other and between their runs; all of it may be removed at any time. */
export const TEST_CACHE = join(CHECKOUT, ".kmodfarm", "test-cache");

/** How the mirror misbehaves for the URLs that `match` fits. */
export interface Fault {
  readonly match: Pick<RegExp, "test">;
  readonly kind: /** Says that there is no such file. */
    | "missing"
    /** Answers 500. */
    | "broken"
    /** Says nothing until the faults end, and then what is right. */
    | "silent"
    /** The connection ends half-way through the body. */
    | "cut"
    /** A whole answer with half of the file. */
    | "short"
    /** One byte in the middle is another one. */
    | "flipped"
    /** Seven bytes more than there are. */
    | "longer"
    /** The bytes come in small pieces, over two seconds. */
    | "slow";
}

export interface Asked {
  readonly path: string;
  readonly status: number;
}

export interface TestMirror {
  /** For `mirror:` and `securityMirror:` of a configuration. */
  readonly main: string;
  readonly security: string;
  /** Everything that was asked for since the last `forget`, in order. */
  readonly asked: readonly Asked[];
  /** How often a fault of `misbehave` showed since the last `behave`. */
  readonly misdeeds: number;
  forget(): void;
  misbehave(...faults: Fault[]): void;
  /** Ends all faults. */
  behave(): void;
  /** Serves so many requests more, and then closes every connection. */
  leaveAfter(requests: number): void;
  stop(): Promise<void>;
}

interface Kept {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

const KEPT_HEADERS = ["etag", "last-modified", "content-type"];

export async function startMirror(): Promise<TestMirror> {
  const mirror = new LoopbackMirror(await upstreams());
  await mirror.listen();
  return mirror;
}

async function upstreams(): Promise<ReadonlyMap<string, string>> {
  const host = await readHostMirrors();
  return new Map([
    ["debian", host.main ?? debian.mirrors.main],
    ["debian-security", host.security ?? debian.mirrors.security ?? debian.mirrors.main],
  ]);
}

class LoopbackMirror implements TestMirror {
  asked: Asked[] = [];
  misdeeds = 0;
  #faults: readonly Fault[] = [];
  #left: number | undefined;
  #port = 0;
  readonly #upstream: ReadonlyMap<string, string>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #fetching = new Map<string, Promise<Kept>>();
  /** Suite → digest of its InRelease as it was last passed on: the state that its indices belong to. */
  readonly #states = new Map<string, string>();
  readonly #agent = new EnvHttpProxyAgent({ connections: 8 }).compose(
    interceptors.redirect({ maxRedirections: 5 }),
  );

  constructor(upstream: ReadonlyMap<string, string>) {
    this.#upstream = upstream;
    this.#server = createServer((question, answer) => {
      this.#serve(question, answer).catch((fault: Error) => {
        if (answer.headersSent) answer.destroy();
        else answer.writeHead(502).end(fault.message);
      });
    });
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get main(): string {
    return `http://127.0.0.1:${this.#port}/debian`;
  }

  get security(): string {
    return `http://127.0.0.1:${this.#port}/debian-security`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.#server.unref();
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  forget(): void {
    this.asked = [];
  }

  misbehave(...faults: Fault[]): void {
    this.#faults = faults;
  }

  behave(): void {
    this.#faults = [];
    this.#left = undefined;
    this.misdeeds = 0;
  }

  leaveAfter(requests: number): void {
    this.#left = requests;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#agent.close();
  }

  async #serve(question: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = decodeURIComponent((question.url ?? "/").slice(1));
    if (this.#left !== undefined && this.#left-- <= 0) {
      this.misdeeds++;
      this.asked.push({ path, status: 0 });
      for (const socket of this.#sockets) socket.destroy();
      return;
    }
    const fault = this.#faults.find(({ match }) => match.test(path));
    if (fault !== undefined) this.misdeeds++;
    while (fault?.kind === "silent" && this.#faults.includes(fault)) await sleep(50);
    const say = (status: number) => {
      this.asked.push({ path, status });
      return status;
    };
    if (fault?.kind === "missing" || fault?.kind === "broken") {
      answer.writeHead(say(fault.kind === "missing" ? 404 : 500)).end();
      return;
    }
    const place = this.#placeOf(path);
    const kept = await this.#have(path, place);
    if (kept.status !== 200) {
      answer.writeHead(say(kept.status)).end();
      return;
    }
    if (isUnchanged(question, kept)) {
      answer.writeHead(say(304), kept.headers).end();
      return;
    }
    say(200);
    await send(answer, place, kept, fault);
  }

  /** An index lies beside others of the same state of its suite. */
  #placeOf(path: string): string {
    if (isRelease(path)) return join(TEST_CACHE, "mirror", path);
    const suite = /^([^/]+\/dists\/[^/]+)\//.exec(path)?.[1];
    const state = suite === undefined ? undefined : this.#states.get(suite);
    return join(TEST_CACHE, "mirror", state === undefined ? "" : state.slice(0, 16), path);
  }

  /** Brings a file into the cache; a suite's InRelease is asked for anew each time. */
  async #have(path: string, place: string): Promise<Kept> {
    const running = this.#fetching.get(path);
    if (running !== undefined) return running;
    const fetched = (async () => {
      const kept = await readKept(place);
      return kept !== undefined && !isRelease(path) ? kept : this.#fetch(path, place, kept);
    })();
    this.#fetching.set(path, fetched);
    try {
      return await fetched;
    } finally {
      this.#fetching.delete(path);
    }
  }

  async #fetch(path: string, place: string, kept: Kept | undefined): Promise<Kept> {
    const [archive = "", ...rest] = path.split("/");
    const base = this.#upstream.get(archive);
    if (base === undefined) return { status: 404, headers: {} };
    const url = `${base}/${rest.map((part) => encodeURIComponent(part)).join("/")}`;
    const etag = kept?.headers.etag;
    const since = kept?.headers["last-modified"];
    const answer = await request(url, {
      dispatcher: this.#agent,
      headers: {
        ...(etag === undefined ? {} : { "if-none-match": etag }),
        ...(since === undefined ? {} : { "if-modified-since": since }),
      },
    });
    if (answer.statusCode === 304 && kept !== undefined) {
      await answer.body.dump();
      await this.#note(path, place);
      return kept;
    }
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      return { status: answer.statusCode, headers: {} };
    }
    const headers: Record<string, string> = Object.fromEntries(
      KEPT_HEADERS.flatMap((name) => {
        const value = answer.headers[name];
        return typeof value === "string" ? [[name, value]] : [];
      }),
    );
    const temporary = `${place}.${randomUUID()}.part`;
    await mkdir(dirname(place), { recursive: true });
    await writeFile(temporary, answer.body);
    await rename(temporary, place);
    // A mirror without validators cannot say "not modified", and tests want to hear it.
    if (isRelease(path)) headers.etag ??= `"${await digestOf(place)}"`;
    const fresh = { status: 200, headers };
    await writeFile(temporary, JSON.stringify(fresh));
    await rename(temporary, `${place}.kept`);
    await this.#note(path, place);
    return fresh;
  }

  async #note(path: string, place: string): Promise<void> {
    const suite = /^(.+)\/InRelease$/.exec(path)?.[1];
    if (suite === undefined) return;
    this.#states.set(suite, await digestOf(place));
  }
}

async function digestOf(place: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(place))
    .digest("hex");
}

function isRelease(path: string): boolean {
  return /\/dists\/[^/]+\/(InRelease|Release)$/.test(path);
}

async function readKept(place: string): Promise<Kept | undefined> {
  try {
    const kept = JSON.parse(await readFile(`${place}.kept`, "utf8")) as Kept;
    await stat(place);
    return kept;
  } catch {
    return undefined;
  }
}

function isUnchanged(question: IncomingMessage, { headers }: Kept): boolean {
  const tag = question.headers["if-none-match"];
  if (tag !== undefined) return tag === headers.etag;
  const since = question.headers["if-modified-since"];
  return since !== undefined && since === headers["last-modified"];
}

async function send(
  answer: ServerResponse,
  place: string,
  { headers }: Kept,
  fault: Fault | undefined,
): Promise<void> {
  const { size } = await stat(place);
  const half = Math.floor(size / 2);
  if (fault === undefined) {
    answer.writeHead(200, { ...headers, "content-length": size });
    createReadStream(place)
      .on("error", () => answer.destroy())
      .pipe(answer);
    return;
  }
  const bytes = await readFile(place);
  const length = { cut: size, short: half, longer: size + 7, flipped: size, slow: size, silent: size };
  answer.writeHead(200, {
    ...headers,
    "content-length": length[fault.kind as keyof typeof length],
  });
  if (fault.kind === "cut") {
    answer.write(bytes.subarray(0, half), () => answer.destroy());
  } else if (fault.kind === "slow") {
    await sendSlowly(answer, bytes);
  } else if (fault.kind === "silent") {
    answer.end(bytes);
  } else if (fault.kind === "short") {
    answer.end(bytes.subarray(0, half));
  } else if (fault.kind === "longer") {
    answer.end(Buffer.concat([bytes, Buffer.from("garbage")]));
  } else {
    bytes[half] = (bytes[half] as number) ^ 0x01;
    answer.end(bytes);
  }
}

async function sendSlowly(answer: ServerResponse, bytes: Buffer): Promise<void> {
  const step = Math.ceil(bytes.length / 20);
  for (let at = 0; at < bytes.length && !answer.destroyed; at += step) {
    answer.write(bytes.subarray(at, at + step));
    await sleep(100);
  }
  answer.end();
}
