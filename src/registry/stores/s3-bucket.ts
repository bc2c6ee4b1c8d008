/**
 * A bucket of a server that speaks S3, request by request. The SDK is loaded when the first store is opened, finds
 * credentials by its own chain, and asks again where a server or the way to it failed.
 */
import { Readable } from "node:stream";
import type { GetObjectCommandOutput, S3Client, ServerSideEncryption } from "@aws-sdk/client-s3";
import { Deadline } from "../../base/deadline.ts";
import { FarmError } from "../../base/error.ts";
import { hexOf, sha256 } from "../../base/json.ts";
import { LEAST_BYTES_PER_MS, requireSpeed } from "../../base/least-speed.ts";
import { Endless, refusalOf, s3Error } from "./s3-errors.ts";

/** Where a bucket is; what is undefined is the SDK's own business. */
export interface S3Place {
  readonly bucket: string;
  /** Without slashes at its ends; "" for the whole bucket. */
  readonly prefix: string;
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** The bucket's name is in the path, not in the host's name. */
  readonly pathStyle?: boolean | undefined;
  readonly serverSideEncryption?: ServerSideEncryption | undefined;
}

export interface Patience {
  readonly connectMs: number;
  /** How long a server may say nothing. */
  readonly silenceMs: number;
  readonly attempts: number;
  /** Longest time for the least that must come of a file. */
  readonly slowMs: number;
  /** Longest time for one request, every attempt at it included, and any answer but a file. */
  readonly longestMs: number;
  /** Of a list; servers give up to a thousand names on each. */
  readonly mostPages: number;
  /** Names directly below one directory, which are all held at once. */
  readonly mostNames: number;
}

export const PATIENCE: Patience = {
  ...{ connectMs: 10_000, silenceMs: 60_000, attempts: 5 },
  ...{ slowMs: 60_000, longestMs: 600_000, mostPages: 20_000, mostNames: 1_000_000 },
};
/** Whatever is no file: a page of a list has less than 2 MiB. */
const ANSWER_LIMIT_BYTES = 16 << 20;

export interface ObjectFacts {
  readonly key: string;
  readonly size: number;
  readonly modified: Date;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Page {
  readonly objects: readonly Omit<ObjectFacts, "metadata">[];
  readonly prefixes: readonly string[];
}

type Sdk = typeof import("@aws-sdk/client-s3");
/** What of all commands' ways is used here. */
type Send = S3Client["send"];

export class Bucket {
  readonly name: string;
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #patience: Patience;
  readonly #encryption: { ServerSideEncryption?: ServerSideEncryption };
  /** Who answers, once anybody was asked: what is configured may leave it to the environment. */
  server: string | undefined;
  /** HEAD has no words: a missing bucket looks like a missing object until something was there. */
  #isKnown = false;
  #refusesBatches = false;

  private constructor(
    sdk: Sdk,
    client: S3Client,
    { bucket, serverSideEncryption }: S3Place,
    patience: Patience,
  ) {
    this.name = bucket;
    this.#sdk = sdk;
    this.#client = client;
    this.#patience = patience;
    this.#encryption =
      serverSideEncryption === undefined ? {} : { ServerSideEncryption: serverSideEncryption };
  }

  static async open(place: S3Place, patience: Patience): Promise<Bucket> {
    const sdk = await import("@aws-sdk/client-s3");
    const { endpoint, region, pathStyle } = place;
    const client = new sdk.S3Client({
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(pathStyle === undefined ? {} : { forcePathStyle: pathStyle }),
      maxAttempts: patience.attempts,
      // The SDK's own sums go along in ways that several servers refuse; the digest of every body goes along here.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      requestHandler: {
        connectionTimeout: patience.connectMs,
        socketTimeout: patience.silenceMs,
        socketAcquisitionWarningTimeout: 24 * 3600_000,
      },
    });
    limitAnswers(client);
    const bucket = new Bucket(sdk, client, place, patience);
    noteServer(client, (server) => {
      bucket.server = server;
    });
    return bucket;
  }

  /** Within the time that a request may take, and what it sends may take at the least speed. */
  get #send(): Send {
    const send = async (command: Parameters<Send>[0]) => {
      const { longestMs } = this.#patience;
      const { Body } = command.input as { Body?: unknown };
      const sentMs = Body instanceof Uint8Array ? Body.length / LEAST_BYTES_PER_MS : 0;
      const endless = new Endless(
        `does not come to an end within ${Math.round((longestMs + sentMs) / 1000)} s`,
      );
      const deadline = new Deadline(longestMs + sentMs, endless);
      try {
        return await this.#client.send(command, { abortSignal: deadline.signal });
      } catch (thrown) {
        throw deadline.isOver ? endless : thrown;
      } finally {
        deadline.end();
      }
    };
    return send as Send;
  }

  async get(key: string): Promise<GetObjectCommandOutput | undefined> {
    const found = await this.#unlessAbsent(key, () =>
      this.#send(new this.#sdk.GetObjectCommand({ Bucket: this.name, Key: key })),
    );
    const { slowMs } = this.#patience;
    if (found !== undefined)
      requireSpeed(
        bodyOf(found),
        slowMs,
        (bytes, ms) => new Endless(`sends too slowly: ${bytes} bytes in ${Math.round(ms / 1000)} s`),
      );
    return found;
  }

  async head(key: string): Promise<ObjectFacts | undefined> {
    const found = await this.#unlessAbsent(key, () =>
      this.#send(new this.#sdk.HeadObjectCommand({ Bucket: this.name, Key: key })),
    );
    if (found === undefined) {
      if (!this.#isKnown) await this.requireBucket();
      return undefined;
    }
    const { ContentLength: size = 0, LastModified: modified = new Date(0), Metadata: metadata = {} } = found;
    return { key, size, modified, metadata };
  }

  /** @throws FarmError STORE_UNUSABLE where there is no such bucket */
  async requireBucket(): Promise<void> {
    await this.#guarded("", async () => {
      // Not HEAD: its answers have no words.
      await this.#send(new this.#sdk.ListObjectsV2Command({ Bucket: this.name, MaxKeys: 1 }));
      this.#isKnown = true;
    });
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    const input = { Bucket: this.name, Key: key, Body: body, ...this.#encryption };
    await this.#guarded(key, () => this.#send(this.#checked(new this.#sdk.PutObjectCommand(input), body)));
  }

  /** PUT where nothing is. Rejects with the SDK's own error: what an answer means is the caller's business. */
  async putNew(key: string, body: Uint8Array, metadata: Readonly<Record<string, string>>): Promise<void> {
    const input = {
      ...{ Bucket: this.name, Key: key, Body: body, ...this.#encryption },
      ...{ IfNoneMatch: "*", Metadata: metadata },
    };
    await this.#send(this.#checked(new this.#sdk.PutObjectCommand(input), body));
    this.#isKnown = true;
  }

  /** In parts; nothing of it is there before the last one is. Never for what must be created once: servers forget conditions here. */
  async putParts(key: string, size: number, parts: AsyncIterable<Uint8Array>): Promise<void> {
    const at = { Bucket: this.name, Key: key };
    const { UploadId } = await this.#guarded(key, () =>
      this.#send(new this.#sdk.CreateMultipartUploadCommand({ ...at, ...this.#encryption })),
    );
    const upload = { ...at, UploadId };
    try {
      const done: { PartNumber: number; ETag: string | undefined }[] = [];
      for await (const body of parts) {
        const PartNumber = done.length + 1;
        const { ETag } = await this.#guarded(key, () =>
          this.#send(
            this.#checked(new this.#sdk.UploadPartCommand({ ...upload, PartNumber, Body: body }), body),
          ),
        );
        done.push({ PartNumber, ETag });
      }
      await this.#complete(key, size, () =>
        this.#send(
          new this.#sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: done } }),
        ),
      );
    } catch (thrown) {
      // What is left of it costs money until the bucket's own rules remove it; the first error says more.
      await this.#send(new this.#sdk.AbortMultipartUploadCommand(upload)).catch(() => {});
      throw thrown;
    }
  }

  /** An answer that was lost on the way makes the next try find no such upload. */
  async #complete(key: string, size: number, complete: () => Promise<unknown>): Promise<void> {
    try {
      await complete();
    } catch (thrown) {
      const isThere = refusalOf(thrown).code === "NoSuchUpload" && (await this.head(key))?.size === size;
      if (!isThere) throw this.error(thrown, key);
    }
  }

  /** Objects whose keys begin with a prefix; with a delimiter only those directly below, and what the others begin with. */
  async *pages(prefix: string, isFlat: boolean): AsyncGenerator<Page> {
    let token: string | undefined;
    for (let pages = 1; ; pages++) {
      const page = await this.#guarded(prefix, () =>
        this.#send(
          new this.#sdk.ListObjectsV2Command({
            ...{ Bucket: this.name, Prefix: prefix },
            ...(isFlat ? {} : { Delimiter: "/" }),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      this.#isKnown = true;
      // A server may answer with whatever it likes: what was not asked for is none of it.
      const isOfIt = (key: string | undefined) => key?.startsWith(prefix) === true;
      yield {
        objects: (page.Contents ?? []).flatMap(({ Key, Size = 0, LastModified = new Date(0) }) =>
          Key === undefined || !isOfIt(Key) ? [] : [{ key: Key, size: Size, modified: LastModified }],
        ),
        prefixes: (page.CommonPrefixes ?? []).flatMap(({ Prefix }) =>
          Prefix === undefined || !isOfIt(Prefix) ? [] : [Prefix],
        ),
      };
      if (page.IsTruncated !== true) return;
      if (pages === this.#patience.mostPages)
        throw new FarmError("REMOTE_UNAVAILABLE", {
          detail: `s3://${this.name}/${prefix}: the server's list has no end: ${pages} pages came`,
        });
      if (page.NextContinuationToken === undefined || page.NextContinuationToken === token)
        throw new FarmError("REMOTE_UNAVAILABLE", {
          detail: `s3://${this.name}/${prefix}: the server says that its list goes on, and not where`,
        });
      token = page.NextContinuationToken;
    }
  }

  async remove(key: string): Promise<void> {
    await this.#unlessAbsent(key, () =>
      this.#send(new this.#sdk.DeleteObjectCommand({ Bucket: this.name, Key: key })),
    );
  }

  /** A thousand at most at once; one by one where the server does not take them together. */
  async removeAll(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    if (keys.length > 1 && !this.#refusesBatches && (await this.#hasRemovedTogether(keys))) return;
    for (const key of keys) await this.remove(key);
  }

  async #hasRemovedTogether(keys: readonly string[]): Promise<boolean> {
    try {
      const Objects = keys.map((Key) => ({ Key }));
      const command = new this.#sdk.DeleteObjectsCommand({
        Bucket: this.name,
        Delete: { Objects, Quiet: true },
      });
      const { Errors = [] } = await this.#send(command);
      // The errors of single keys have no class: asked for alone, each says what it is.
      for (const { Key } of Errors) if (Key !== undefined) await this.remove(Key);
      return true;
    } catch (thrown) {
      if (![400, 405, 411, 501].includes(refusalOf(thrown).status ?? 0)) throw this.error(thrown, "");
      this.#refusesBatches = true;
      return false;
    }
  }

  close(): void {
    this.#client.destroy();
  }

  error(thrown: unknown, key: string): unknown {
    return s3Error(thrown, key === "" ? `s3://${this.name}` : `s3://${this.name}/${key}`);
  }

  async #guarded<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw this.error(thrown, key);
    }
  }

  async #unlessAbsent<T>(key: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const found = await work();
      this.#isKnown = true;
      return found;
    } catch (thrown) {
      const { status, code } = refusalOf(thrown);
      if (status === 404 && code !== "NoSuchBucket") return undefined;
      throw this.error(thrown, key);
    }
  }

  /** The server refuses a body that is not the one that was meant. */
  #checked<C extends { middlewareStack: unknown }>(command: C, body: Uint8Array): C {
    const digest = hexOf(sha256(body));
    const { middlewareStack } = command as { middlewareStack: S3Client["middlewareStack"] };
    middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> };
        headers["x-amz-content-sha256"] = digest;
        return next(args);
      },
      { step: "build", name: "bodyDigest" },
    );
    return command;
  }
}

/** Whatever a server answers that is no file, is short. */
function limitAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        const { body, statusCode } = result.response as { body?: unknown; statusCode?: number };
        const isFile = commandName === "GetObjectCommand" && (statusCode ?? 0) < 300;
        if (!isFile && body instanceof Readable) limitBytes(body);
        return result;
      },
    { step: "deserialize", priority: "low", name: "limitAnswers" },
  );
}

function noteServer(client: S3Client, note: (server: string) => void): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const {
        protocol,
        hostname,
        port = "",
      } = args.request as {
        readonly protocol: string;
        readonly hostname: string;
        readonly port?: number | string;
      };
      note(`${protocol}//${hostname}:${port}`);
      return result;
    },
    { step: "deserialize", priority: "low", name: "noteServer" },
  );
}

function limitBytes(body: Readable): void {
  let bytes = 0;
  body.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > ANSWER_LIMIT_BYTES)
      body.destroy(new Endless(`answers with more than ${ANSWER_LIMIT_BYTES} bytes`));
  });
  body.pause();
}

/** Of what `get` gave. */
export function bodyOf({ Body }: GetObjectCommandOutput): Readable {
  return Body as Readable;
}
