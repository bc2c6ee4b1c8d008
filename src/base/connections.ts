/**
 * Connections to servers: whom we connect to, and how long an answer may take. What a person named may be anywhere;
 * what lists, mirrors and redirects name must be public, and that is asked of the address itself, when we connect.
 */
import { lookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { buildConnector, type Dispatcher, EnvHttpProxyAgent, request } from "undici";
import { NotPublic, TooSlow } from "./network-faults.ts";
import { hostOf, type OwnServers, portOf } from "./own-servers.ts";
import { isPublicAddress } from "./public-address.ts";

export interface ConnectionLimits {
  readonly connectMs: number;
  readonly silenceMs: number;
  /** For an answer from the time that it is asked for, however many hints (1xx) come before it. */
  readonly answerMs: number;
}

export interface Connections {
  /** One answer, as it comes: redirects are answers. */
  ask(
    url: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    /** What is sent; without, something is asked for. */
    posted?: Buffer,
  ): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}

/** Connections; those to servers that we did not name lead to public addresses only. */
export function openConnections(own: OwnServers, limits: ConnectionLimits): Connections {
  const { connectMs, silenceMs, answerMs } = limits;
  const [direct, guarded] = [{}, { lookup: publicLookup }].map((more) =>
    buildConnector({ timeout: connectMs, ...more }),
  ) as [buildConnector.connector, buildConnector.connector];
  const agent = new EnvHttpProxyAgent({
    connections: 8,
    // A proxy is the operator's: it is connected to as it stands, and itself decides on names.
    connect: (options, done) => {
      const { hostname, port, protocol } = options;
      if (own.has(hostname, portOf({ port, protocol }))) return direct(options, done);
      const fault = faultOf(hostname);
      return fault === undefined ? guarded(options, done) : done(fault, null);
    },
    headersTimeout: silenceMs,
    bodyTimeout: silenceMs,
  });
  const dispatcher = agent.compose((dispatch) => (options, handler) => {
    const origin = String(options.origin);
    const { hostname, port, protocol } = new URL(origin);
    // Behind a proxy, only the proxy sees the address.
    const fault = own.has(hostname, portOf({ port, protocol })) ? undefined : faultOf(hostname);
    if (fault !== undefined) throw fault;
    return dispatch(options, withDeadline(handler, `${origin}${options.path}`, answerMs));
  });
  return {
    ask: (url, headers, signal, posted) =>
      request(url, {
        ...{ headers, dispatcher, signal },
        ...(posted === undefined ? {} : { method: "POST", body: posted }),
      }),
    close: () => agent.close(),
  };
}

/** What is wrong with a host as it is written; names are looked at when they are looked up. */
function faultOf(hostname: string): NotPublic | undefined {
  const host = hostOf(hostname);
  const isLocal = /(^|\.)localhost$/i.test(host);
  return isLocal || (isIP(host) !== 0 && !isPublicAddress(host)) ? new NotPublic(hostname) : undefined;
}

/** Looks a name up, and knows only the public ones of its addresses. */
const publicLookup: LookupFunction = (hostname, options, done) => {
  lookup(hostname, { ...options, all: true }, (fault, addresses) => {
    const open = fault === null ? addresses.filter(({ address }) => isPublicAddress(address)) : [];
    const [first] = open;
    if (first === undefined) done(fault ?? new NotPublic(hostname), "", 0);
    else if (options.all) done(null, open);
    else done(null, first.address, first.family);
  });
};

type Handler = Dispatcher.DispatchHandler;

/** Hints may come for ever, each of them in time: only the final answer ends the waiting. */
function withDeadline(handler: Handler, url: string, answerMs: number): Handler {
  let timer: NodeJS.Timeout | undefined;
  const answered = () => clearTimeout(timer);
  return {
    onRequestStart(controller, context) {
      timer = setTimeout(() => controller.abort(new TooSlow(url, 0, answerMs)), answerMs);
      handler.onRequestStart?.(controller, context);
    },
    onResponseStart(controller, status, ...rest) {
      if (status >= 200) answered();
      handler.onResponseStart?.(controller, status, ...rest);
    },
    onResponseData: (...data) => handler.onResponseData?.(...data),
    onResponseEnd: (...end) => handler.onResponseEnd?.(...end),
    onResponseError(controller, fault) {
      answered();
      handler.onResponseError?.(controller, fault);
    },
  };
}
