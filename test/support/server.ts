/** A real HTTP server on the loopback interface, for as long as one test runs. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

interface TestServer {
  /** Without a slash at its end. */
  readonly url: string;
  /** `path` of every request so far, in order. */
  readonly requests: readonly string[];
}

/**
 * Answers every request with `answer`, which also gets how many there were before it. `atEnd` is told how to stop:
 * by default that happens when the running test ends.
 */
export async function startServer(
  answer: (request: IncomingMessage, response: ServerResponse, before: number) => void,
  atEnd: (stop: () => void) => void = onTestFinished,
): Promise<TestServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(request, response, requests.length - 1);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
