/**
 * What goes between the farm and a signer's process: its one argument, and then lines of JSON.
 */
import type { ErrorCode } from "../base/error-codes.ts";
import type { KeyPlace } from "./keys/index.ts";
import type { Role } from "./roles.ts";

export interface Start {
  readonly name: string;
  readonly role: Role;
  readonly place: KeyPlace;
}

interface Fault {
  readonly kind: "fault";
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** The first line; after a fault there is no other. */
export type Greeting = { readonly kind: "ready"; readonly spki: string } | Fault;

/** One line for each request. */
export type Answer = { readonly kind: "signed"; readonly signature: string } | Fault;
