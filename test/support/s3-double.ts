/**
 * A server of objects in this process, for faults that a real server does not show when asked. What it does well is no
 * evidence: real servers are tried in test/contracts/s3.wide.test.ts.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { startServer } from "./server.ts";

export interface S3Request {
  readonly method: string;
  /** "" where the bucket itself is asked. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
}

/** What happens to one request instead of, or after, what should. */
export type S3Fault =
  | { readonly kind: "answer"; readonly status: number; readonly code: string; readonly isDone?: boolean }
  | { readonly kind: "silent" }
  | { readonly kind: "cut" }
  /** Answers as it should, after a while. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Begins as it should, and then gives a byte every so often, for ever: spaces, which XML does not mind. */
  | { readonly kind: "drips"; readonly everyMs: number }
  /** The same as fast as it is taken. */
  | { readonly kind: "floods" }
  /** A page of a list with a name that no page before had, and never the last one. */
  | { readonly kind: "lists on" }
  /** Overwrites as if no condition had been named. */
  | { readonly kind: "ignores conditions" };

export interface S3Double {
  readonly endpoint: string;
  readonly bucket: string;
  readonly objects: Map<string, StoredObject>;
  readonly requests: S3Request[];
  /** Access keys that are good now; any other one has expired. */
  keys: ReadonlySet<string>;
  /** Named on every page of every list, whatever was asked for. */
  strayKeys: readonly string[];
  /** Asked before each request; the last one that was set counts. */
  fault: (request: S3Request) => S3Fault | undefined;
}

interface StoredObject {
  readonly body: Buffer;
  readonly modified: Date;
  readonly headers: Readonly<Record<string, string>>;
}

const BUCKET = "farm";
/** Small, so that lists have several pages. */
const PAGE = 3;

export async function startS3Double(atEnd?: (stop: () => void) => void): Promise<S3Double> {
  const requests: S3Request[] = [];
  const objects = new Map<string, StoredObject>();
  const uploads = new Map<string, Buffer[]>();
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams: query } = new URL(incoming.url ?? "/", "http://double");
    const [, bucket, ...rest] = pathname.split("/").map(decodeURIComponent);
    const request = { method: incoming.method ?? "", key: rest.join("/"), query, headers: incoming.headers };
    const body = Buffer.concat(await incoming.toArray());
    requests.push(request);
    const fault = double.fault(request);
    if (fault?.kind === "silent") return;
    if (fault?.kind === "answer" && fault.isDone !== true) return refuse(response, fault.status, fault.code);
    if (bucket !== BUCKET) return refuse(response, 404, "NoSuchBucket");
    const [, key = ""] =
      /^AWS4-HMAC-SHA256 Credential=([\w-]+)\//.exec(request.headers.authorization ?? "") ?? [];
    if (!double.keys.has(key)) return refuse(response, 400, "ExpiredToken");
    if (fault?.kind === "slow") await sleep(fault.ms);
    const digest = createHash("sha256").update(body).digest("hex");
    if (request.method === "PUT" && request.headers["x-amz-content-sha256"] !== digest)
      return refuse(response, 400, "XAmzContentSHA256Mismatch");
    if (fault?.kind === "lists on") return listOn(response, requests.length, query.get("prefix") ?? "");
    if (fault?.kind === "drips" || fault?.kind === "floods") return goOn(response, fault, request.key !== "");
    const done = serve(request, body, objects, uploads, {
      isUnconditional: fault?.kind === "ignores conditions",
      strayKeys: double.strayKeys,
    });
    if (fault?.kind === "answer") return refuse(response, fault.status, fault.code);
    response.writeHead(done.status, { "content-length": done.body.length, ...done.headers });
    if (fault?.kind === "cut")
      response.write(done.body.subarray(0, done.body.length >> 1), () => response.destroy());
    else response.end(request.method === "HEAD" ? undefined : done.body);
  };
  const { url } = await startServer((incoming, response) => void answer(incoming, response), atEnd);
  const double: S3Double = {
    ...{ endpoint: url, bucket: BUCKET, objects, requests, keys: new Set(["test"]) },
    strayKeys: [],
    fault: () => undefined,
  };
  return double;
}

function listOn(response: ServerResponse, count: number, prefix: string): void {
  const name = String(count).padStart(10, "0");
  response
    .writeHead(200, { "content-type": "application/xml" })
    .end(
      `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>${name}</NextContinuationToken><Contents><Key>${prefix}${name}</Key><Size>1</Size></Contents></ListBucketResult>`,
    );
}

/** Until its client has gone. */
async function goOn(
  response: ServerResponse,
  fault: Extract<S3Fault, { kind: "drips" | "floods" }>,
  isFile: boolean,
): Promise<void> {
  response.writeHead(200, {
    "content-type": "application/xml",
    ...(isFile ? { "content-length": 60_000 } : {}),
  });
  const gone = once(response, "close");
  const piece = Buffer.alloc(fault.kind === "drips" ? 1 : 1 << 16, " ");
  while (!response.destroyed) {
    const isTaken = response.write(piece);
    if (fault.kind === "drips") await sleep(fault.everyMs);
    else if (!isTaken) await Promise.race([once(response, "drain"), gone]);
  }
}

/** Faults in turn, one for each request that fits, and none after that. */
export function inTurn(fits: (request: S3Request) => boolean, ...faults: S3Fault[]): S3Double["fault"] {
  return (request) => (fits(request) ? faults.shift() : undefined);
}

interface Done {
  readonly status: number;
  readonly body: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

function serve(
  { method, key, query, headers }: S3Request,
  body: Buffer,
  objects: Map<string, StoredObject>,
  uploads: Map<string, Buffer[]>,
  {
    isUnconditional,
    strayKeys,
  }: { readonly isUnconditional: boolean; readonly strayKeys: readonly string[] },
): Done {
  const put = (content: Buffer): Done => {
    if (headers["if-none-match"] === "*" && objects.has(key) && !isUnconditional)
      return failed(412, "PreconditionFailed");
    const kept = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-"));
    objects.set(key, {
      body: content,
      modified: new Date(),
      headers: Object.fromEntries(kept) as Record<string, string>,
    });
    return { status: 200, body: Buffer.alloc(0), headers: { etag: '"1"' } };
  };
  const upload = query.get("uploadId");
  if (method === "POST" && query.has("uploads")) {
    uploads.set("1", []);
    return xml("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>");
  }
  if (upload !== null && !uploads.has(upload)) return failed(404, "NoSuchUpload");
  if (method === "PUT" && upload !== null) {
    (uploads.get(upload) as Buffer[])[Number(query.get("partNumber")) - 1] = body;
    return { status: 200, body: Buffer.alloc(0), headers: { etag: '"1"' } };
  }
  if (method === "POST" && upload !== null) {
    put(Buffer.concat(uploads.get(upload) as Buffer[]));
    uploads.delete(upload);
    return xml("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>");
  }
  if (method === "POST" && query.has("delete")) {
    for (const [, name = ""] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) objects.delete(name);
    return xml("<DeleteResult></DeleteResult>");
  }
  if (method === "PUT") return put(body);
  if (method === "DELETE") {
    objects.delete(key);
    return { status: 204, body: Buffer.alloc(0) };
  }
  if (key === "") return list(query, objects, strayKeys);
  const found = objects.get(key);
  if (found === undefined) return failed(404, "NoSuchKey");
  return {
    status: 200,
    body: found.body,
    headers: { ...found.headers, "last-modified": found.modified.toUTCString() },
  };
}

function list(
  query: URLSearchParams,
  objects: Map<string, StoredObject>,
  strayKeys: readonly string[],
): Done {
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter");
  const after = query.get("continuation-token") ?? "";
  const entries = new Set<string>();
  for (const key of [...objects.keys()].filter((one) => one.startsWith(prefix))) {
    const end = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
    entries.add(end === -1 ? key : key.slice(0, end + 1));
  }
  const rest = [...entries].sort().filter((entry) => entry > after);
  const page = rest.slice(0, PAGE);
  const said = page.map((entry) => {
    const found = delimiter !== null && entry.endsWith(delimiter) ? undefined : objects.get(entry);
    return found === undefined
      ? `<CommonPrefixes><Prefix>${entry}</Prefix></CommonPrefixes>`
      : `<Contents><Key>${entry}</Key><Size>${found.body.length}</Size><LastModified>${found.modified.toISOString()}</LastModified></Contents>`;
  });
  const next = `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>`;
  for (const key of strayKeys) said.push(`<Contents><Key>${key}</Key><Size>1</Size></Contents>`);
  const isCut = rest.length > page.length;
  return xml(
    `<ListBucketResult><IsTruncated>${isCut}</IsTruncated>${isCut ? next : ""}${said.join("")}</ListBucketResult>`,
  );
}

function xml(body: string): Done {
  return { status: 200, body: Buffer.from(body), headers: { "content-type": "application/xml" } };
}

function failed(status: number, code: string): Done {
  return { ...xml(`<Error><Code>${code}</Code><Message>no</Message></Error>`), status };
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const { body } = failed(status, code);
  response.writeHead(status, { "content-length": body.length, "content-type": "application/xml" }).end(body);
}
