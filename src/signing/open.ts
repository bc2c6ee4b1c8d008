/**
 * Opens the signer: a process for each key, which alone sees the key and its password. The farm holds their descriptors
 * only until the process has them, and reads none.
 */
import { closeSync, constants, openSync } from "node:fs";
import { createInterface } from "node:readline";
import { assertNever, FarmError, isErrno } from "../base/error.ts";
import { type Descriptor, type Pipe, pipeThrough } from "../base/run.ts";
import { Secret } from "../base/secret.ts";
import { type PublicKey, publicKeyFromSpki } from "../provenance/public-key.ts";
import { signerCommand } from "./box.ts";
import { familyOf, type KeyPlace } from "./keys/index.ts";
import type { Role } from "./roles.ts";
import type { Signer, SigningRequest } from "./signer.ts";
import type { Answer, Greeting } from "./wire.ts";

/** Where the password of a key comes from. */
export type PasswordPlace =
  | { readonly kind: "file"; readonly path: string }
  /** In the environment, under the variable's name. */
  | { readonly kind: "given"; readonly secret: Secret; readonly variable: string }
  /** On the terminal, if there is one and the key needs a password. */
  | { readonly kind: "asked" };

/** A key as it is configured. */
export interface KeySetting {
  readonly name: string;
  readonly role: Role;
  readonly place: KeyPlace;
  readonly password: PasswordPlace;
  /** File with its public key in PEM, if there is one: many need no more than that. */
  readonly publicKey?: string;
}

/** @throws FarmError KEY_UNREADABLE, KEY_LOCKED, TOOL_MISSING */
export async function openSigner(settings: readonly KeySetting[]): Promise<Signer> {
  const processes = new Map<string, KeyProcess>();
  const close = async () => void (await Promise.all([...processes.values()].map((one) => one.close())));
  try {
    // One after the other: two questions on one terminal could not be told apart.
    for (const setting of settings) processes.set(setting.name, await KeyProcess.start(setting));
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return {
    keys: new Map([...processes].map(([name, { publicKey }]) => [name, publicKey])),
    async sign(key, request) {
      const one = processes.get(key);
      if (one === undefined)
        throw new FarmError("SIGNING_REFUSED", { detail: `the signer has no key of the name ${key}` });
      return one.sign(request);
    },
    [Symbol.asyncDispose]: close,
  };
}

class KeyProcess {
  readonly publicKey: PublicKey;
  readonly #pipe: Pipe;
  readonly #answers: AsyncIterator<string>;
  readonly #name: string;
  /** Answers come in the order of requests. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(name: string, pipe: Pipe, answers: AsyncIterator<string>, publicKey: PublicKey) {
    this.#name = name;
    this.#pipe = pipe;
    this.#answers = answers;
    this.publicKey = publicKey;
  }

  static async start({ name, role, place, password }: KeySetting): Promise<KeyProcess> {
    const access = familyOf(place).access(place);
    const held = [...(access.descriptors ?? [])];
    let pipe: Pipe;
    try {
      const first = passwordDescriptor(password);
      if (typeof first === "number") held.push(first);
      pipe = pipeThrough(signerCommand({ name, role, place }, access), {
        descriptors: [first, ...(access.descriptors ?? [])],
      });
    } finally {
      for (const descriptor of held) closeSync(descriptor);
    }
    const answers = createInterface({ input: pipe.stdout })[Symbol.asyncIterator]();
    const greeting = await answerOf<Greeting>(name, pipe, answers);
    return new KeyProcess(
      ...([name, pipe, answers] as const),
      publicKeyFromSpki(Buffer.from(greeting.spki, "base64"), `the key ${name}`),
    );
  }

  async sign(request: SigningRequest): Promise<Uint8Array> {
    const answer = this.#last.then(async () => {
      this.#pipe.stdin.write(`${JSON.stringify(request)}\n`);
      return answerOf<Answer>(this.#name, this.#pipe, this.#answers);
    });
    this.#last = answer.catch(() => {}); // Who asked hears of it.
    return Buffer.from((await answer).signature, "base64");
  }

  async close(): Promise<void> {
    this.#pipe.stdin.end();
    await this.#pipe.exit;
  }
}

/** @throws FarmError as the signer says, or TOOL_FAILED where it says nothing any more */
async function answerOf<A extends Answer | Greeting>(
  name: string,
  pipe: Pipe,
  answers: AsyncIterator<string>,
): Promise<Exclude<A, { readonly kind: "fault" }>> {
  const next = await answers.next();
  if (next.done === true) {
    const exit = await pipe.exit;
    throw new FarmError("TOOL_FAILED", {
      detail: `the process that signs with the key ${name} ended with ${exit}: ${pipe.said().trim()}`,
      hint: "Run `kmodfarm doctor`, which tries what programs are shut in with. A chroot forbids it, and some containers do.",
    });
  }
  const answer = JSON.parse(next.value) as A;
  if (answer.kind !== "fault") return answer as Exclude<A, { readonly kind: "fault" }>;
  const { code, message, hint } = answer;
  throw new FarmError(code, { detail: message, hint });
}

function passwordDescriptor(password: PasswordPlace): Descriptor {
  switch (password.kind) {
    case "given":
      return password.secret;
    case "file":
      return opened(password.path, constants.O_RDONLY | constants.O_NONBLOCK);
    case "asked":
      return terminal() ?? new Secret("");
    default:
      return assertNever(password);
  }
}

function opened(path: string, flags: number): number {
  try {
    return openSync(path, flags);
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
    throw new FarmError("KEY_LOCKED", {
      detail: `the password file ${path} cannot be opened (${thrown.code})`,
      cause: thrown,
    });
  }
}

/** Undefined where nobody sits at one. */
function terminal(): number | undefined {
  try {
    return openSync("/dev/tty", constants.O_RDWR | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}
