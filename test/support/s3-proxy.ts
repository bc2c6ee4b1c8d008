/**
 * Stands between a client and a real server of objects: counts what is asked, and does to single requests what networks and
 * servers do. Signatures stay good, because the host's name goes along as the client wrote it.
 */
import { request as ask, type IncomingMessage, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { startServer } from "./server.ts";

export interface ProxiedRequest {
  readonly method: string;
  /** Decoded, with the bucket. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  /** How many bytes its body had. */
  sent: number;
  /** What the server answered. */
  status?: number;
}

export type ProxyFault =
  /** Of the server's own answer nothing is seen; with `isDone` the server did what it was asked. */
  | { readonly kind: "answer"; readonly status: number; readonly code: string; readonly isDone?: boolean }
  /** Breaks off half-way through the answer. */
  | { readonly kind: "cut" }
  /** Waits before it asks the server. */
  | { readonly kind: "slow"; readonly ms: number };

export interface S3Proxy {
  readonly endpoint: string;
  readonly requests: ProxiedRequest[];
  /** Asked before each request; the last one that was set counts. */
  fault: (request: ProxiedRequest) => ProxyFault | undefined | Promise<ProxyFault | undefined>;
}

export async function startS3Proxy(server: string, atEnd?: (stop: () => void) => void): Promise<S3Proxy> {
  const { hostname, port } = new URL(server);
  const requests: ProxiedRequest[] = [];
  const pass = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams: query } = new URL(incoming.url ?? "/", "http://proxy");
    const seen: ProxiedRequest = {
      ...{ method: incoming.method ?? "", path: decodeURIComponent(pathname), query },
      ...{ headers: incoming.headers, sent: 0 },
    };
    requests.push(seen);
    const fault = await proxy.fault(seen);
    if (fault?.kind === "slow") await sleep(fault.ms);
    if (fault?.kind === "answer" && fault.isDone !== true) {
      incoming.resume();
      return refuse(response, fault.status, fault.code);
    }
    const { expect: _, ...headers } = incoming.headers;
    const onward = ask({ hostname, port, method: seen.method, path: incoming.url, headers });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      onward.on("response", resolve).on("error", reject);
    });
    answered.catch(() => response.destroy());
    await pipeline(
      incoming,
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          seen.sent += chunk.length;
          yield chunk;
        }
      },
      onward,
    );
    const answer = await answered;
    if (answer.statusCode !== undefined) seen.status = answer.statusCode;
    if (fault?.kind === "answer") {
      answer.resume();
      return refuse(response, fault.status, fault.code);
    }
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    if (fault?.kind !== "cut") return pipeline(answer, response);
    const body = Buffer.concat(await answer.toArray());
    response.write(body.subarray(0, body.length >> 1), () => response.destroy());
  };
  const { url } = await startServer(
    // Whoever is killed in the middle of a request leaves a broken pipe.
    (incoming, response) => void pass(incoming, response).catch(() => response.destroy()),
    atEnd,
  );
  const proxy: S3Proxy = { endpoint: url, requests, fault: () => undefined };
  return proxy;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const body = `<Error><Code>${code}</Code><Message>no</Message></Error>`;
  response.writeHead(status, { "content-type": "application/xml", "content-length": body.length }).end(body);
}
