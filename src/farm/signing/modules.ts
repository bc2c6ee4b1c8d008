/**
 * Signs modules for the certificates that are configured, each once. Only digests go to the signer, so that another key
 * never means another build: what is published gets the signatures that it does not have yet.
 */
import { FarmError } from "../../base/error.ts";
import { hexOf } from "../../base/json.ts";
import { putBlob } from "../../registry/blobs.ts";
import type { IndexEntry, ModuleSignature } from "../../registry/documents.ts";
import type { Store } from "../../registry/stores/store.ts";
import { type ModuleCertificate, moduleCertificate, sidecarOf } from "../../signing/sidecar.ts";
import type { FarmConfig } from "../config/index.ts";
import { signaturesAt } from "../config/keys.ts";
import { readCertificates } from "../gate/policy-file.ts";
import type { FarmSigning } from "./keys.ts";

/** A certificate, and the name of the key that signs for it. */
interface Wanted {
  readonly certificate: ModuleCertificate;
  readonly key: string;
}

type SigningConfig = Pick<FarmConfig, "drivers" | "signatures" | "base">;
type Module = IndexEntry["modules"][number];

export class ModuleSigning {
  readonly #config: SigningConfig;
  readonly #signing: Pick<FarmSigning, "sign" | "keysFor">;
  readonly #store: Store;
  readonly #wanted = new Map<string, Promise<readonly Wanted[]>>();

  constructor(config: SigningConfig, signing: Pick<FarmSigning, "sign" | "keysFor">, store: Store) {
    this.#config = config;
    this.#signing = signing;
    this.#store = store;
  }

  /**
   * An artifact with exactly the signatures that its driver wants; the same one where it has them, and where its driver
   * is not configured. `isLost`: of files that the store does not have any more.
   * @throws FarmError KEY_UNREADABLE, KEY_LOCKED, SIGNING_REFUSED, FILE_UNREADABLE
   */
  async signed(entry: IndexEntry, isLost: (digest: string) => boolean = () => false): Promise<IndexEntry> {
    const wanted = await this.#wantedFor(entry.driver);
    if (wanted === undefined || (await this.isSigned(entry, isLost))) return entry;
    const modules: Module[] = [];
    for (const module of entry.modules) modules.push(await this.#signedModule(module, wanted, isLost));
    return { ...entry, modules };
  }

  /** Whether an artifact has exactly those signatures already. @throws FarmError KEY_UNREADABLE, FILE_UNREADABLE */
  async isSigned({ driver, modules }: IndexEntry, isLost: (digest: string) => boolean): Promise<boolean> {
    const wanted = await this.#wantedFor(driver);
    return wanted === undefined || modules.every((module) => hasAll(module, wanted, isLost));
  }

  async #signedModule(
    { signatures: before = [], ...module }: Module,
    wanted: readonly Wanted[],
    isLost: (digest: string) => boolean,
  ): Promise<Module> {
    const signatures: ModuleSignature[] = [];
    for (const one of wanted) {
      const known = before.find((signature) => isGood(signature, one, isLost));
      signatures.push(known ?? (await this.#sign(module, one)));
    }
    return signatures.length === 0 ? module : { ...module, signatures };
  }

  async #sign({ digest, stripped }: Module, { certificate, key }: Wanted): Promise<ModuleSignature> {
    // A blob's digest is its SHA-256: the module itself need not be read.
    const sha256 = hexOf(stripped ?? digest);
    const signature = await this.#signing.sign("module", { kind: "module", sha256 }, key);
    const sidecar = sidecarOf(certificate, signature);
    return {
      keyId: certificate.keyId,
      certificate: await putBlob(this.#store, certificate.certificate.raw),
      digest: await putBlob(this.#store, sidecar),
      size: sidecar.length,
    };
  }

  /** Undefined for a driver that is not configured. */
  #wantedFor(driver: string): Promise<readonly Wanted[]> | undefined {
    const configured = this.#config.drivers.find(({ name }) => name === driver);
    if (configured === undefined) return undefined;
    const known = this.#wanted.get(driver);
    if (known !== undefined) return known;
    const { base, signatures } = this.#config;
    const own = configured.signatures;
    const wanted = this.#open(own === undefined ? signatures : signaturesAt(base, own));
    this.#wanted.set(driver, wanted);
    return wanted;
  }

  async #open(signatures: FarmConfig["signatures"]): Promise<readonly Wanted[]> {
    if (signatures.length === 0) return [];
    const keys = await this.#signing.keysFor("module");
    return Promise.all(
      signatures.map(async ({ certificate: file, key }) => {
        const [first] = await readCertificates(file);
        if (first === undefined) throw otherKey(file, "holds no certificate");
        const certificate = moduleCertificate(first, file);
        if (keys.get(key)?.fingerprint !== certificate.publicKey.fingerprint)
          throw otherKey(file, `is the certificate of another key than ${key}`);
        return { certificate, key };
      }),
    );
  }
}

function otherKey(file: string, detail: string): FarmError {
  return new FarmError("KEY_UNREADABLE", {
    about: file,
    joint: " ",
    detail,
    hint: "Name in `signatures` of the configuration the key that the certificate was made for.",
  });
}

function hasAll(
  { signatures = [] }: Module,
  wanted: readonly Wanted[],
  isLost: (digest: string) => boolean,
): boolean {
  return (
    signatures.length === wanted.length &&
    wanted.every((one) => signatures.some((signature) => isGood(signature, one, isLost)))
  );
}

function isGood(
  { certificate: its, keyId, digest }: ModuleSignature,
  { certificate }: Wanted,
  isLost: (digest: string) => boolean,
): boolean {
  return keyId === certificate.keyId && its === certificate.digest && !isLost(digest) && !isLost(its);
}
